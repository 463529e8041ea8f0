"""Every way in which a call to a provider can end."""
