"""The page in a browser: it sorts, filters and opens cases, asks for nothing, and breaks on no name."""

import shutil

import numpy as np
import pytest
from PIL import Image

from shared.reports import page, views
from shared.reports.page import Column, Entry, Page
from shared.runs import REPORT
from shared.scans import volume

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs Chromium and its driver (Debian: chromium-driver)")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--window-size=1200,900")  # fmt: skip


def view(frames=1, seed=0):
    shape = (24, 20, 3) if frames == 1 else (24, 20, 3, frames)
    labels = np.zeros(shape, np.uint8)
    labels[5:12, 5:12], labels[12:18, 5:12] = 1, 2
    grey = np.random.default_rng(seed).random(shape)
    layers = {"predicted": volume.from_array(labels, (1.5, 1.5, 8)), "reference": volume.from_array(labels, (1.5, 1.5, 8))}
    return views.view(volume.from_array(grey, (1.5, 1.5, 8)), layers, {1: "LV", 2: "RV"}, 10**6)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    Image.new("RGB", (30, 20), "red").save(folder / "learning_curve.png")
    entries = [
        Entry("patient10", ["DCM", 0.9], "", view()),
        Entry("patient2", ["NOR", 0.25], "Dice below 0.5: <LV>", view(4)),
        Entry("</script><b>p3", ["DCM", float("nan")], "", None),
        Entry("patient4", ["HCM", 0.5], "", view(seed=1)),
    ]
    page.write(
        folder / REPORT,
        Page(
            title="A & B <i>",
            text="- command: `train --set a=1`\n\n| structure | n |\n|---|---|\n| LV | 4 |\n\n<script>alert(1)</script>",
            columns=[Column("group"), Column("Dice", 2)],
            entries=entries,
            structures=["LV", "RV"],
            layers=("predicted", "reference", "other"),
            figures=[folder / "learning_curve.png"],
        ),
    )
    return folder / REPORT


def test_names_are_text_and_nothing_is_fetched(written):
    text = written.read_text()
    assert "<title>A &amp; B &lt;i&gt;</title>" in text and "&lt;b&gt;p3" in text and "alert(1)&lt;/script&gt;" in text
    assert text.count("<script>") == 1 and "http://" not in text and "https://" not in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert "<code>train --set a=1</code>" in text and "<td>LV</td>" in text and ">0.90</td>" in text


def test_a_hundred_cases_stay_small():
    assert 100 * page.share(100) <= 15_000_000 and page.share(1) == page.share(2) < 3_000_000


@pytest.fixture
def browser(written):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        driver.get(written.as_uri())
        yield driver
        assert driver.get_log("browser") == []
        asked = [entry["message"] for entry in driver.get_log("performance") if 'Network.requestWillBeSent"' in entry["message"]]
        assert all('"url":"data:' in each or written.as_uri() in each for each in asked)
    finally:
        driver.quit()


def found(browser, selector):
    return browser.find_elements("css selector", selector)


def names(browser):
    return [each.text for each in found(browser, "#cases tbody th") if each.is_displayed()]


@needs_browser
def test_sorting_knows_numbers_and_leaves_the_undefined_last(browser):
    case, _, _, dice = found(browser, "#cases thead button")
    case.click()
    assert names(browser) == ["</script><b>p3", "patient2", "patient4", "patient10"]
    dice.click()
    assert names(browser) == ["patient2", "patient4", "patient10", "</script><b>p3"]
    dice.click()
    assert names(browser) == ["patient10", "patient4", "patient2", "</script><b>p3"]


@needs_browser
def test_filtering_by_words_and_remarks(browser):
    (words,), (box,) = found(browser, "#filter"), found(browser, "#remarkable")
    words.send_keys("dcm pat")
    assert names(browser) == ["patient10"] and found(browser, "#count")[0].text == "1 of 4 cases"
    words.clear()
    words.send_keys(" ")
    box.click()
    assert names(browser) == ["patient2"]
    box.click()
    assert len(names(browser)) == 4


@needs_browser
def test_a_case_opens_with_all_slices_frames_and_layers(browser):
    found(browser, ".thumb")[1].click()  # patient2, a cine
    assert found(browser, "#opened")[0].text == "patient2"
    (drawing,) = found(browser, "#place svg")
    whole = view(4)
    assert drawing.get_dom_attribute("viewBox") == f"0 0 {whole.columns * whole.width} {whole.rows * whole.height}"
    assert [each.text for each in found(browser, "#place text")] == ["1", "2", "3"]

    def shown():
        return [each.is_displayed() for each in found(browser, "#place .frame")]

    assert shown() == [True, False, False, False]
    found(browser, "dialog")[0].send_keys("\ue014")  # arrow to the right
    assert shown() == [False, True, False, False] and found(browser, "#which")[0].text == "2 of 4"
    paths = found(browser, "#place .frame:nth-of-type(2) .layer1 path")
    assert len(paths) == 2 and all(each.is_displayed() for each in paths)
    found(browser, "input.layer")[1].click()
    assert not any(each.is_displayed() for each in found(browser, "#place .frame:nth-of-type(2) .layer1 path"))
    drawing.click()  # the middle of the sheet: 3 tiles in a row
    x, y, *size = map(float, drawing.get_dom_attribute("viewBox").split())
    assert size == [whole.width, whole.height] and x % whole.width == 0 and y % whole.height == 0
    drawing.click()
    assert drawing.get_dom_attribute("viewBox") == f"0 0 {whole.columns * whole.width} {whole.rows * whole.height}"
    found(browser, "#after")[0].click()
    assert found(browser, "#opened")[0].text == "patient4" and not found(browser, "#time")[0].is_displayed()
    found(browser, "#close")[0].click()
    assert not found(browser, "dialog")[0].is_displayed()


@needs_browser
def test_a_phone_shows_the_page_without_scrolling_sideways(browser):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    )
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    found(browser, ".thumb")[0].click()
    assert found(browser, "dialog")[0].rect["width"] <= 390
