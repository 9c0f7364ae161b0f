"""Tests of the HTML page in a real browser, cut off from every network: filters, sorting, links, keyboard, speed."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright
from tests.in_ci import IN_CI
from tests.records import RUN, broken, make_record, make_run, sample_results, timed

from pytest_inferena.report import html
from pytest_inferena.results import Results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, Dialog, Page

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None and not IN_CI, reason="chromium is not installed"),
    pytest.mark.filterwarnings("default"),
]
TITLES = {"models": {"unet": "Small U-Net", "bert": "BERT"}, "units": {}, "frameworks": {
    "pytorch": "PyTorch", "alpha": "Alpha", "mu": "Mu", "wrong": "Wrong <b>One</b>"}}  # fmt: skip


def run(number: int, cpu: str, date: str, records: Sequence[Any]) -> Results:
    """A run of one platform on one day."""
    platform = {**RUN["platform"], "id": cpu, "cpu": cpu}
    return Results(make_run(id=str(number), date=date, platform=platform, titles=TITLES), tuple(records))


def day(scale: float) -> list[Any]:
    """Four engines, one of them wrong and one that broke."""
    times = {"pytorch": 0.2, "alpha": 0.1, "mu": 0.1005}
    made = [make_record(framework=name, **timed(scale * t, 0.002)) for name, t in times.items()]
    made += [make_record("compile", name, **timed(t, 0.001)) for name, t in zip(times, (30, 1, 2), strict=True)]
    wrong = {"outcome": "fail", "reason": "output has NRMSE 0.5 <script>alert(1)</script>"}
    return [*made, make_record(framework="wrong", **timed(0.01, 0.001, **wrong)),
            make_record("latency", "mu", **broken("crash", "SIGSEGV")),
            make_record(model="bert", framework="mu")]  # fmt: skip


RUNS = [
    run(1, "Acme One", "2026-11-20T12:00:00Z", day(1)),
    run(2, "Acme One", "2026-11-21T12:00:00Z", day(1.1)),
    run(3, "Zeta Two", "2026-11-21T12:00:00Z", day(0.5)),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Opens a page of results; whatever it asks for, complains of or throws fails the test."""
    troubles: list[str] = []
    contexts = []

    def dismiss(dialog: Dialog) -> None:
        troubles.append(dialog.message)
        dialog.dismiss()

    def open_page(runs: Sequence[Results] = RUNS, fragment: str = "", **options: Any) -> Page:
        file = tmp_path / "page.html"
        file.write_text(html.render_all(runs), encoding="utf-8")
        contexts.append(browser.new_context(offline=True, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda asked: troubles.extend([asked.url] * (not asked.url.startswith("file:"))))
        page.on("dialog", dismiss)
        page.goto(f"{file.as_uri()}{fragment}")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [] == troubles


def column(page: Page, place: int) -> list[str]:
    """Texts of a column of the table."""
    texts = page.locator(f"tbody tr > :nth-child({place})").all_inner_texts()
    return [text.split("\n")[0].split(":")[0].strip() for text in texts]


def test_all_figures_are_there(opened: Callable[..., Page]) -> None:
    """Each platform has its rows; the best are bold where intervals overlap, what is wrong is struck, with reason."""
    page = opened()

    assert ["Acme One"] * 4 + ["Zeta Two"] * 4 == column(page, 1)
    assert {"Alpha", "Mu"} == {row.locator("th").inner_text() for row in page.locator("tr:has(td b)").all()}
    assert 2 == page.locator("td.fail s").count()
    assert "NRMSE 0.5 <script>alert(1)</script>" in page.locator("td.fail button").first.get_attribute("title")  # type: ignore[operator]
    assert "Wrong <b>One</b>" in column(page, 2)


def test_filters(opened: Callable[..., Page]) -> None:
    """Rows of a framework that is not wanted go, columns of a metric too, and wrong results on request."""
    page = opened()
    page.get_by_text("framework: all").click()
    page.get_by_role("checkbox", name="Alpha").uncheck()
    page.get_by_text("metric: all").click()
    page.get_by_role("checkbox", name="latency").uncheck()

    assert 6 == page.locator("tbody tr").count()
    assert "6 of 8 rows on 2 platforms" == page.get_by_role("status").inner_text()
    assert not page.get_by_role("columnheader", name="latency").count()
    page.get_by_role("checkbox", name="only verified").check()
    assert {"PyTorch", "Mu"} == set(column(page, 2))


def test_sorting(opened: Callable[..., Page]) -> None:
    """A click on a head sorts by figure, another the other way; figures that do not count are last."""
    page = opened()
    head = page.get_by_role("columnheader", name=re.compile("inference"))
    head.get_by_role("button").click()
    up, first = column(page, 2), head.get_attribute("aria-sort")
    head.get_by_role("button").click()
    down, second = column(page, 2), head.get_attribute("aria-sort")

    assert {"ascending", "descending"} == {first, second}
    assert ["Wrong <b>One</b>"] * 2 == up[-2:] == down[-2:]
    assert up[:6] == down[:6][::-1]


def test_columns_that_were_asked_for(opened: Callable[..., Page]) -> None:
    """They sort, one without a figure last, and have a reason; no chart draws them, and none is the best."""
    taken = {"alpha": 12, "mu": 3, "wrong": None}
    records = [make_record(framework=name, memory=memory, missing={"memory": "why"}) for name, memory in taken.items()]
    page = opened([Results(make_run(titles=TITLES, columns=["memory"]), tuple(records))])
    head = page.get_by_role("columnheader", name="inference memory (MiB)")
    head.get_by_role("button").click()

    assert ["3.00", "12.0", "—"] == column(page, 4)
    assert 1 == page.get_by_text("why", exact=True).count()
    assert ["inference"] == page.locator("select option").all_inner_texts()
    assert 0 == page.locator("tbody td:nth-child(4) b").count()


def test_a_view_can_be_linked(opened: Callable[..., Page]) -> None:
    """Tab, filters and sorting stand in the address, and a link shows the same."""
    page = opened()
    page.get_by_role("tab", name="BERT").click()
    page.get_by_text("platform: all").click()
    page.get_by_role("checkbox", name="Zeta Two").uncheck()
    fragment = page.evaluate("location.hash")
    again = opened(fragment=fragment)

    assert "BERT" in fragment
    assert "BERT" == again.get_by_role("tab", selected=True).inner_text()
    assert ["Acme One"] == column(again, 1)


def test_keyboard(opened: Callable[..., Page]) -> None:
    """Arrows move along the tabs; a figure's provenance opens by Enter and closes by Escape."""
    page = opened()
    page.get_by_role("tab", selected=True).focus()
    page.keyboard.press("ArrowRight")

    assert (
        "BERT"
        == page.get_by_role("tab", selected=True).inner_text()
        == page.evaluate("document.activeElement.innerText")
    )
    page.locator("td button").first.focus()
    page.keyboard.press("Enter")
    assert "Versions" in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_charts(opened: Callable[..., Page]) -> None:
    """Speed beside PyTorch, compile time against it, and, of a platform with several days, its history."""
    page = opened()

    assert 3 == page.locator("figure [role=img]:visible").count()
    page.get_by_role("combobox").select_option("compile")
    assert "chart=compile" in page.evaluate("location.hash")


def test_curves(opened: Callable[..., Page]) -> None:
    """Figures of one model in several batches are a line an engine, in the tab of each batch, and in no other."""
    grown = [(batch, name) for batch in (1, 8, 32) for name in ("pytorch", "alpha")]
    records = [make_record(framework=name, batch=batch, **timed(0.01 * batch**0.8, 0.001)) for batch, name in grown]
    page = opened([run(1, "Acme One", "2026-11-20T12:00:00Z", [*records, make_record(framework="mu")])])
    chart = page.get_by_role("img", name="inference (ms) by batch size")

    tabs = page.get_by_role("tab").all_inner_texts()

    assert ["Small U-Net", *(f"Small U-Net, batch {batch}" for batch in (1, 8, 32))] == tabs
    assert not chart.count()
    for batch in (1, 8, 32):
        page.get_by_role("tab", name=f"Small U-Net, batch {batch}", exact=True).click()
        assert chart.is_visible()
        assert (2, 6) == (
            chart.locator('g[fill=none][stroke-width="1.5"] > path').count(),
            chart.locator("circle").count(),
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_accessibility(scheme: str, width: int, opened: Callable[..., Page]) -> None:
    """axe-core finds nothing, on a desk or a phone, by day or by night; no phone has to scroll the page sideways."""
    page = opened(color_scheme=scheme, viewport={"width": width, "height": 800})
    found = Axe().run(page)

    assert [] == [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found.response["violations"]]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_print(opened: Callable[..., Page]) -> None:
    """On paper there are figures and no controls."""
    page = opened()
    page.emulate_media(media="print")

    assert not page.get_by_text("framework: all").is_visible()
    assert page.locator("tbody tr").first.is_visible()


def test_nothing_measured(opened: Callable[..., Page]) -> None:
    """An empty run is a page that says so."""
    page = opened([Results(sample_results().run, ())])

    assert "No cell was recorded." in page.inner_text("main")


def test_ten_thousand_cells(opened: Callable[..., Page]) -> None:
    """Five platforms, fifty engines and ten models paint within a second; a filter takes a tenth of one."""
    models = {f"model{number}": f"Model {number}" for number in range(10)}
    engines = {f"engine{number:02}": f"Engine {number}" for number in range(50)}
    titles = {"models": models, "frameworks": engines, "units": {}}
    records = [make_record(metric, engine, model=model) for model in models for engine in engines
               for metric in ("compile", "inference", "latency", "training")]  # fmt: skip
    platforms = [{**RUN["platform"], "id": str(number), "cpu": f"Machine {number}"} for number in range(5)]
    runs = [Results(make_run(id=p["id"], platform=p, titles=titles), tuple(records)) for p in platforms]
    page = opened(runs)
    paints = []
    for _ in range(5):  # the least counts: what else runs on the machine only adds
        page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
        page.reload()
    page.get_by_text("framework: all").click()
    box = page.get_by_role("checkbox", name="Engine 7", exact=True)
    took = [
        box.evaluate(
            "async (box) => { const start = performance.now(); box.click();"
            " await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
            " return performance.now() - start; }"
        )
        for _ in range(20)
    ]

    assert 250 == page.locator("tbody tr").count()
    assert min(paints) < 1000
    assert min(took) < 100
