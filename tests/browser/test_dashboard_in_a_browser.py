"""The dashboard as people see it: in a real browser, over a real socket."""
# ruff: noqa: RUF001 - Ukrainian is written with its own letters

import itertools
from urllib.parse import urlsplit

import pytest

SIZES = ["phone", "desktop"]
SCHEMES = ["light", "dark"]
LOCALES = ["en-GB", "uk-UA"]

each_size = pytest.mark.parametrize("size", SIZES)
each_scheme = pytest.mark.parametrize("scheme", SCHEMES)

LOADED = "[...document.images].every(image => image.complete && image.naturalWidth)"

TOO_WIDE = """[...document.querySelectorAll('main *')].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && box.right > innerWidth + 1 && !element.closest('.scroll, pre')
}).map(element => element.outerHTML.slice(0, 80))"""

TOO_SMALL = """[...document.querySelectorAll('.choices a, summary, button')].filter(
    element => element.getBoundingClientRect().height < 24
).map(element => element.outerHTML.slice(0, 80))"""

HEADINGS = (
    "[...document.querySelectorAll('h1, h2, h3')].map(found => +found.tagName[1])"
)

COLOURS = """[...document.querySelectorAll('main .swatch')].map(
    found => getComputedStyle(found).backgroundColor)"""


@pytest.mark.parametrize("locale", LOCALES)
@each_scheme
@each_size
def test_page_is_shown_without_a_complaint(
    open_page, address, screens, size, scheme, locale
):
    page = open_page(size, color_scheme=scheme, locale=locale)

    page.goto(address, wait_until="networkidle")

    assert page.evaluate(LOADED)
    assert page.locator("html").get_attribute("lang") == locale[:2]
    page.screenshot(
        path=screens / f"dashboard-{size}-{scheme}-{locale[:2]}.png", full_page=True
    )


@each_size
def test_nothing_sticks_out_and_all_is_large_enough_to_touch(open_page, address, size):
    page = open_page(size)

    page.goto(address, wait_until="networkidle")

    width = page.evaluate("document.documentElement.scrollWidth")
    assert width == page.viewport_size["width"]
    assert page.evaluate(TOO_WIDE) == []
    assert page.evaluate(TOO_SMALL) == []


@pytest.mark.parametrize(
    "query", ["", "?user=olena", "?first=2020-01-01&last=2020-01-02"]
)
@each_scheme
@each_size
def test_page_is_accessible(open_page, address, size, scheme, query):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = open_page(size, color_scheme=scheme)

    page.goto(address + query, wait_until="networkidle")
    # What is folded away is looked at, too.
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = axe.run(page)

    assert [
        (violation["id"], [node["html"] for node in violation["nodes"]][:3])
        for violation in found.response["violations"]
    ] == []


def test_headings_are_in_order(open_page, address):
    page = open_page()

    page.goto(address)

    levels = page.evaluate(HEADINGS)
    assert levels.count(1) == 1
    steps = itertools.pairwise(levels)
    assert all(later - earlier <= 1 for earlier, later in steps)


@each_size
@each_scheme
def test_each_screen_gets_a_drawing_of_its_own(open_page, address, size, scheme):
    page = open_page(size, color_scheme=scheme)

    page.goto(address, wait_until="networkidle")

    shown = page.evaluate("[...document.images].map(image => image.currentSrc)")
    drawings = [source for source in shown if ".svg?" in source]
    expected = {"phone": {"narrow"}, "desktop": {"wide", "half"}}[size]
    assert len(drawings) == 4
    assert all(f"theme={scheme}" in source for source in drawings)
    sizes = {source.partition("size=")[2].partition("&")[0] for source in drawings}
    assert sizes == expected


def test_every_link_leads_somewhere(open_page, address):
    page = open_page()
    page.goto(address)
    links = page.evaluate("[...document.links].map(link => link.href)")
    pages = [link for link in dict.fromkeys(links) if "/dashboard" in link]
    files = [link for link in dict.fromkeys(links) if link not in pages]

    titles = []
    for link in pages:
        page.goto(link)
        titles.append(page.title())
    answers = [page.request.get(link) for link in files]

    assert len(pages) > 25
    assert set(titles) == {"Model usage and costs", "Використання моделей і витрати"}
    assert [answer.status for answer in answers] == [200] * 2


def test_pickers_work_by_keyboard_and_without_javascript(open_page, address):
    page = open_page(java_script_enabled=False)
    page.goto(address)

    page.keyboard.press("Tab")
    focused = page.locator(":focus")
    assert focused.inner_text() == "Skip to the figures"
    assert focused.bounding_box()["x"] >= 0
    page.get_by_role("link", name="7 days").press("Enter")
    page.wait_for_url("**range=7d*")
    page.get_by_role("link", name="Feature", exact=True).click()
    page.wait_for_url("**group_by=feature*")

    assert "range=7d" in urlsplit(page.url).query
    assert page.locator(".choices [aria-current]").all_inner_texts() == [
        "7 days",
        "Feature",
    ]
    assert "support.answer" in page.locator(".keys").inner_text()


def test_other_dates_are_chosen_in_a_form(open_page, address):
    page = open_page(java_script_enabled=False)
    page.goto(f"{address}?group_by=user&user=olena")

    page.get_by_text("Other dates").click()
    page.get_by_label("From", exact=True).fill("2026-11-02")
    page.get_by_label("To", exact=True).fill("2026-11-08")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**first=2026-11-02*")

    assert "2 November – 8 November 2026" in page.locator("header").inner_text()
    assert "olena" in page.locator(".chips").inner_text()


def test_name_narrows_the_page_and_its_chip_widens_it(open_page, address):
    page = open_page(java_script_enabled=False)
    page.goto(address)

    page.locator(".ranking").get_by_role("link", name="sofia").click()
    page.wait_for_url("**user=sofia*")
    narrowed = page.locator(".ranking").nth(2).locator("tbody tr").count()
    page.locator(".chips a").click()
    page.wait_for_url(lambda url: "user=" not in url)

    assert narrowed == 1
    assert page.locator(".ranking").nth(2).locator("tbody tr").count() == 8


def test_table_behind_a_chart_holds_its_figures(open_page, address):
    page = open_page(java_script_enabled=False)
    page.goto(f"{address}?range=7d")
    card = page.locator("section", has=page.locator("#cost"))

    card.locator("summary").click()

    assert card.locator("tbody tr").count() == 7
    assert card.locator("thead th").first.inner_text() == "Time"
    assert card.locator("thead th").last.inner_text() == "Total"


@each_scheme
def test_colours_of_a_chart_are_told_apart_from_the_card(open_page, address, scheme):
    page = open_page(color_scheme=scheme)
    page.goto(address)

    card = page.evaluate(
        "getComputedStyle(document.querySelector('.card')).backgroundColor"
    )
    colours = set(page.evaluate(COLOURS)) - {"rgba(0, 0, 0, 0)"}

    assert len(colours) >= 5
    assert min(contrast(colour, card) for colour in colours) >= 3


def contrast(one, other):
    """Return how far two colours are apart, as WCAG 2.2 reckons."""
    lighter, darker = sorted(map(luminance, (one, other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    values = [int(part) / 255 for part in colour[4:-1].split(",")]
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in values
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("name", ["cost", "tokens", "latency", "failures"])
def test_drawing_opened_by_itself_breaks_no_policy(open_page, address, name):
    page = open_page()

    page.goto(f"{address}/{name}.svg")

    assert page.locator("text").count() > 3


def test_page_that_refuses_is_a_page(browser, address):
    context = browser.new_context(
        http_credentials={"username": "me", "password": "letmein"}
    )
    page = context.new_page()

    answer = page.goto(f"{address}?range=forever")

    assert answer.status == 400
    page.get_by_role("link", name="Show the last 30 days").click()
    assert page.locator("h1").inner_text() == "Model usage and costs"
    context.close()
