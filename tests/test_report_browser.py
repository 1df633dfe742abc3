"""The page in a real browser: Debian's Chromium, driven by selenium; one session for all tests."""

import shutil
from contextlib import suppress

import pytest
from conftest import invoke
from made_ladder import HOSTILE, make_ladder

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")), reason="chromium or chromedriver is not installed"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Return a browser that has opened the report of a ladder."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--force-prefers-reduced-motion",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    folder = tmp_path_factory.mktemp("browser")
    page = folder / "page.html"
    invoke("report", make_ladder(folder / "out"), "-o", page)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.get(page.as_uri())
    yield driver
    with suppress(OSError):
        driver.quit()


@pytest.fixture
def page(browser):
    """Return the page as it is when it has just been opened."""
    set_width(browser, 1400)
    browser.refresh()
    return browser


def set_width(browser, width):
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def all_of(page, selector):
    return page.find_elements("css selector", selector)


def choose(page, name, label):
    from selenium.webdriver.support.ui import Select

    Select(page.find_element("id", name)).select_by_visible_text(label)


def status(page):
    return page.find_element("id", "status").text


def test_filters_narrow_what_is_shown(page):
    assert status(page) == "12 problems, 162 records."
    choose(page, "stage", "base on arith")
    assert status(page) == "12 problems, 48 records."
    choose(page, "verdict", "right")
    assert status(page) == "12 problems, 12 records."
    choose(page, "kind", "general")
    choose(page, "language", "zh")
    assert status(page) == "2 problems, 2 records."
    assert {badge.text for badge in all_of(page, ".rollout .verdict")} == {"✓ right"}
    assert [prompt.text for prompt in all_of(page, ".prompt")] == ["What is 0 + 1?", "What is 6 + 1?"]


def test_a_search_finds_text_in_reasoning(page):
    from selenium.webdriver.support.ui import WebDriverWait

    page.find_element("id", "query").send_keys("7 PLUS 1")
    WebDriverWait(page, 20).until(lambda _: status(page).startswith("1 problems"))
    assert [prompt.text for prompt in all_of(page, ".prompt")] == ["What is 7 + 1?"]


def test_reasoning_is_folded_and_unfolds_one_by_one_or_all(page):
    choose(page, "stage", "01-zero on arith")
    first = all_of(page, ".rollout details")[0]
    assert not first.find_element("css selector", ".text").is_displayed()
    first.find_element("css selector", "summary").click()
    assert first.find_element("css selector", ".text").is_displayed()
    page.find_element("id", "unfolded").click()
    assert all(one.get_attribute("open") for one in all_of(page, ".rollout details"))


def test_two_stages_stand_side_by_side_on_one_problem(page):
    choose(page, "stage", "base on arith")
    choose(page, "against", "01-zero on arith")
    first = all_of(page, ".problem")[0]
    left, right = first.find_elements("css selector", ".sides > div")
    assert left.text.startswith("base on arith\n1 of 4 right")
    assert right.text.startswith("01-zero on arith\n3 of 4 right")
    assert left.rect["y"] == right.rect["y"]
    assert left.rect["x"] + left.rect["width"] <= right.rect["x"]


def test_problems_are_paged(page):
    assert len(all_of(page, ".problem")) == 10
    page.find_element("xpath", "//button[text()='Next']").click()
    assert len(all_of(page, ".problem")) == 2
    assert page.find_element("css selector", ".pager span").text == "page 2 of 2"


def test_hostile_text_stays_text(page):
    choose(page, "stage", "02-scored")
    page.find_element("id", "unfolded").click()
    shown = page.execute_script("return document.querySelector('#browser .rollout .text').textContent.toWellFormed()")
    assert shown == HOSTILE.replace("\ud800", "\ufffd")  # which is no character
    assert len(all_of(page, "script")) == 2
    assert all_of(page, "img") == []


def test_reflection_is_shown_with_its_word_marked(page):
    assert {mark.text for mark in all_of(page, "#samples mark")} == {"Wait"}


def test_the_switch_turns_the_page_dark_and_back(page):
    def paper():
        return page.execute_script("return getComputedStyle(document.body).backgroundColor")

    light, switch = paper(), page.find_element("id", "theme")
    switch.click()
    assert paper() != light
    line = page.execute_script("return getComputedStyle(document.querySelector('svg text')).fill")
    switch.click()
    assert paper() == light
    assert page.execute_script("return getComputedStyle(document.querySelector('svg text')).fill") != line


def test_a_telephone_never_scrolls_sideways(page):
    set_width(page, 390)
    choose(page, "stage", "base on arith")
    choose(page, "against", "01-zero on arith")
    page.find_element("id", "unfolded").click()
    assert page.execute_script("return document.documentElement.scrollWidth") == 390


def test_no_error_and_no_request_off_the_page(page):
    """Run last: reads what the browser logged during all tests."""
    assert page.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)") == []
    assert page.get_log("browser") == []
    urls = [line["message"] for line in page.get_log("performance") if '"Network.requestWillBeSent"' in line["message"]]
    assert urls
    assert not [url for url in urls if '"url":"file://' not in url and '"url":"data:' not in url]


def test_the_policy_stops_a_script_and_a_request_that_are_slipped_in(page):
    """Show that the checks above can fail."""
    page.execute_script(
        "const script = document.createElement('script'); script.textContent = 'window.slipped = 1';"
        "document.body.append(script);"
        "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))"
    )
    assert page.execute_script("return window.slipped") is None
    messages = " ".join(line["message"] for line in page.get_log("browser"))
    assert "script-src" in messages
    assert "img-src" in messages
