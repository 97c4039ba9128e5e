"""rspamd's web interface as a person uses it: a browser, the login dialog, the tabs, the table of the history.

The browser is Debian's Chromium, driven by the chromedriver of the same version; nothing else is fetched or started.
Run as a program it prints a visit as JSON, so that the browser can run in another network namespace; the passwords come
as two lines of stdin, so that no process list shows them: python -m tests.web.interface URL SCREENSHOT
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from tests.mail.polling import eventually

TABS = ("status", "throughput", "configuration", "symbols", "scan", "selectors", "history")

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # refused to root otherwise
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-proxy-server",
    "--window-size=1700,1000",
    # What a browser asks the Internet for by itself.
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-quic",
    "--disable-sync",
)

NOTE_ALERTS = """
window.alertsSeen = [];
new MutationObserver(changes => changes.forEach(change => change.addedNodes.forEach(node => {
  if (node.matches && node.matches('.notification-area .alert')) window.alertsSeen.push(node.textContent.trim());
}))).observe(document, {childList: true, subtree: true});
"""
"""An alert is gone after five seconds; this keeps its text."""


@dataclasses.dataclass(frozen=True)
class Scanned:
    """One row of the history."""

    message_id: str
    address: str
    action: str
    score: str
    details: str
    """What unfolds below the row: the symbols, and whatever has no room in it."""


@dataclasses.dataclass(frozen=True)
class Visit:
    """What somebody saw who tried a wrong password, then the right one, then every tab."""

    refusal: str
    complaints: list[str]
    history: list[Scanned]
    hosts: list[str]
    """Everything that the pages asked for came from these hosts and ports."""


class Interface:
    """The pages in a browser; every method ends when the page shows what is expected, TimeoutError after 30 s."""

    def __init__(self, browser: Chrome, url: str) -> None:
        self._browser = browser
        self._url = url
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": NOTE_ALERTS})
        browser.get(url)

    def _shown(self, selector: str) -> WebElement:
        def find() -> WebElement | None:
            found = self._browser.find_elements(By.CSS_SELECTOR, selector)
            return next((element for element in found if element.is_displayed()), None)

        return eventually(find, within_seconds=30, what=f"{selector} on the page")

    def _ask(self, script: str) -> Any:
        return self._browser.execute_script(script)

    def _log(self, name: str) -> list[dict[str, Any]]:
        """Return what the browser has logged since the last call."""
        return list(self._browser.get_log(name))  # type: ignore[no-untyped-call] # published without types

    def _submit(self, password: str) -> None:
        field = self._shown("#connectPassword")
        # The dialog moves into its place; a click on its button would miss until then.
        focused = "return document.activeElement.id == 'connectPassword'"
        eventually(lambda: self._ask(focused), within_seconds=30, what="the password's field, in focus")
        field.send_keys(password)
        self._shown("#connectButton").click()

    def refused(self, password: str) -> str:
        """Try a wrong password; return what the page answers."""
        self._submit(password)
        # The dialog has a note "Wrong password", too, which rspamd 4.1.5 does not manage to show.
        self._shown("#connectPassword.is-invalid")
        return self._shown(".notification-area .alert").text

    def log_in(self, password: str) -> None:
        """Come anew and give the right password; what the console says of the refused requests is no complaint."""
        self._browser.get(self._url)
        self._submit(password)
        self._log("browser")
        self._shown("#navBar")

    def open_tab(self, name: str) -> None:
        """Choose a tab and wait until all that it asks for has come."""

        def choosable() -> bool:
            return "disabled" not in (self._shown(f"#{name}_nav").get_attribute("class") or "")

        eventually(choosable, within_seconds=30, what=f"tab {name}, no longer greyed out")
        self._shown(f"#{name}_nav").click()
        self._shown(f"#{name}.active")
        eventually(self._idle, within_seconds=30, what=f"tab {name} without outstanding requests")

    def _idle(self) -> bool:
        """Tell whether no request is under way: progress bar gone, and none of the last second."""
        script = """
            const entries = performance.getEntriesByType('resource');
            const last = Math.max(...entries.map(entry => entry.responseEnd));
            return !document.querySelector('#nprogress') && performance.now() - last > 500;
        """
        return bool(self._ask(script))

    def history(self) -> list[Scanned]:
        """Return the rows of the history that is open, newest first, each unfolded; there has to be one."""
        self._shown("#historyTable_history .tabulator-row")
        rows = self._browser.find_elements(By.CSS_SELECTOR, "#historyTable_history .tabulator-row")
        return [self._scanned(row) for row in rows]

    def _scanned(self, row: WebElement) -> Scanned:
        def cell(field: str) -> str:
            return row.find_element(By.CSS_SELECTOR, f"[tabulator-field={field}]").text

        details = row.find_element(By.CSS_SELECTOR, ".tabulator-responsive-collapse")
        if not details.is_displayed():
            # Not by the mouse: the table keeps rows below the window from being scrolled into it.
            toggle = row.find_element(By.CSS_SELECTOR, ".tabulator-responsive-collapse-toggle")
            self._browser.execute_script("arguments[0].click()", toggle)
        return Scanned(cell("id"), cell("ip"), cell("action"), cell("score"), details.text)

    def complaints(self) -> list[str]:
        """Return what the pages complained of since the login: alerts, their error log, the browser's console."""
        if self._browser.find_element(By.ID, "error-log-badge").is_displayed():
            self._shown("#error-log-badge button").click()
            self._shown("#errorLogTable tbody tr")
        script = """
            const log = [...document.querySelectorAll('#errorLogTable tbody tr')].map(row => row.innerText);
            return [...window.alertsSeen, ...log];
        """
        console = [entry for entry in self._log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        # "rendering": the graph's axis has no length as long as there is nothing to draw, which only the console says.
        return [*self._ask(script), *(entry["message"] for entry in console if entry["source"] != "rendering")]

    def hosts(self) -> list[str]:
        """Return host and port of everything that the browser has asked for since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        sent = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
        urls = [urlsplit(request["request"]["url"]) for request in sent]
        return sorted({url.netloc for url in urls if url.scheme in ("http", "https", "ws", "wss")})

    def save_screenshot(self, path: Path) -> None:
        """Write what the window shows as a PNG file."""
        assert self._browser.save_screenshot(str(path)), f"{path} cannot be written"


@contextlib.contextmanager
def interface(url: str) -> Iterator[Interface]:
    """The pages at *url* in a new browser that has never been anywhere."""
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        browser = Chrome(options, Service("/usr/bin/chromedriver"))
        try:
            yield Interface(browser, url)
        finally:
            browser.quit()


def visit(url: str, screenshot: Path, *, wrong: str, right: str) -> Visit:
    """Log in, look at every tab, and keep a picture of the last one, the history."""
    with interface(url) as pages:
        refusal = pages.refused(wrong)
        pages.log_in(right)
        for tab in TABS:
            pages.open_tab(tab)
        history = pages.history()
        pages.save_screenshot(screenshot)
        return Visit(refusal, pages.complaints(), history, pages.hosts())


if __name__ == "__main__":
    wrong_password, right_password = sys.stdin.read().splitlines()
    seen = visit(sys.argv[1], Path(sys.argv[2]), wrong=wrong_password, right=right_password)
    print(json.dumps(dataclasses.asdict(seen)))
