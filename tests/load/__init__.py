"""Many users at once, whole answers and streams, a provider that is slow and fails."""
