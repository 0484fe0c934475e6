"""The report in a real browser: it sorts and filters, asks nobody for anything, and its pictures are taken.

Chromium is driven through its own DevTools pipe: no driver, no package. Skipped where Chromium is missing.
"""
import base64
import fcntl
import json
import os
import shutil
import subprocess

import pytest

from cnn_repro.repro import record
from cnn_repro.reports import build

import example_records as example

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")]
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage",
         "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
         "--remote-debugging-pipe")


class Page:
    """One tab of a fresh Chromium. `events` keeps every DevTools event."""

    def __init__(self, profile):
        to_browser, self.out = os.pipe()
        self.inp, from_browser = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10)
                for end in (to_browser, from_browser)]     # clear of 3 and 4

        def plug():         # the pipe is descriptors 3 and 4, by Chromium's convention
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)
        self.process = subprocess.Popen(
            [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"], pass_fds=(3, 4), preexec_fn=plug,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in (*ends, to_browser, from_browser):
            os.close(end)
        self.buffer, self.events, self.count, self.session = b"", [], 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (answer := self.read()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def read(self) -> dict:
        while b"\0" not in self.buffer:
            more = os.read(self.inp, 1 << 20)
            assert more, "Chromium has gone"
            self.buffer += more
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)

    def wait(self, method):
        while not any(event.get("method") == method for event in self.events):
            self.events.append(self.read())

    def open(self, path):
        # that of the empty page it came with may be among them
        self.events = [event for event in self.events if event.get("method") != "Page.loadEventFired"]
        self.call("Page.navigate", url=path.as_uri())
        self.wait("Page.loadEventFired")

    def run(self, script):
        """The value of a JavaScript expression; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def look(self, path, width, height=1600, scheme="light", anchor="", **media):
        """A PNG of the window, as a screen of `width` CSS pixels shows it."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}],
                  **media)
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 500)
        self.run(f"(document.getElementById({json.dumps(anchor)}) ?? document.body).scrollIntoView()")
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        picture = base64.b64decode(self.call("Page.captureScreenshot")["data"])
        path.write_bytes(picture)
        return picture

    def close(self):
        self.process.kill()                 # its profile is thrown away
        self.process.wait()
        os.close(self.out)
        os.close(self.inp)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for item in example.demonstration():
        record.write_record(folder / "records" / f"{item['id']}.json", item)
    build([folder / "records"], folder / "report.html")
    page = Page(folder / "profile")
    page.open(folder / "report.html")
    yield page
    page.close()


VISIBLE = "[...document.querySelectorAll('#claim-table tbody tr')].filter(row => !row.hidden)"


def column(page, name):
    heads = page.run("[...document.querySelectorAll('#claim-table thead th')].map(th => th.textContent.trim())")
    return next(index for index, head in enumerate(heads) if head.startswith(name))


def click(page, selector):
    page.run(f"document.querySelector({json.dumps(selector)}).click()")


@pytest.mark.parametrize("name", ["Network", "Paper", "Measured", "Verdict"])
def test_a_click_sorts_and_another_turns_round(page, name):
    index = column(page, name)
    keys = f"{VISIBLE}.map(row => row.cells[{index}].dataset.sort)"
    for order, reverse in (("ascending", False), ("descending", True)):
        click(page, f"#claim-table thead th:nth-child({index + 1}) button")
        sorted_by = page.run("[...document.querySelectorAll('#claim-table th')].map(th => th.ariaSort)")
        assert sorted_by.count(order) == 1 and sorted_by[index] == order
        found = page.run(keys)
        known = [key for key in found if key != ""]
        units = [unit for key, unit in zip(found, page.run(f"{VISIBLE}.map(row => row.dataset.unit)")) if key != ""]
        if name == "Network":                       # as a dictionary has it, in the page's language
            expected = page.run(f"{json.dumps(known)}.sort((a, b) => a.localeCompare(b, 'en'))")
        elif name == "Verdict":
            expected = sorted(known, key=float)
        else:                                       # percents, then counts, either way
            expected = [key for kind in ("%", "count")[::-1 if reverse else 1] for key in sorted(
                (key for key, unit in zip(known, units) if unit == kind), key=float)]
            assert units == sorted(units)
        assert known == (expected[::-1] if reverse else expected) and len(set(known)) > 3
        assert found[:len(known)] == known          # what is missing comes last, whichever way


def test_what_nobody_ran_is_folded_away_at_first(page):
    """By the chips, which bring it back."""
    verdicts = page.run("[...document.querySelectorAll('#claim-table tbody tr')].map(row => row.dataset.verdict)")
    assert verdicts.count("not run") > 100 and "counted" in verdicts
    assert not {"not run", "counted"} & set(page.run(f"{VISIBLE}.map(row => row.dataset.verdict)"))
    click(page, "#tools [data-verdict='not run']")
    click(page, "#tools [data-verdict='counted']")
    assert page.run(f"{VISIBLE}.length") == len(verdicts)


def test_filters_by_words_and_verdicts(page):
    page.run("document.querySelectorAll('#tools [aria-pressed=true]').forEach(chip => chip.click())")
    everything = page.run(f"{VISIBLE}.length")
    def write(words):
        page.run(f"""(() => {{ const box = document.querySelector('#tools input'); box.value = {json.dumps(words)};
                     box.dispatchEvent(new Event('input')); }})()""")
    write("RESNET20 test")
    assert set(page.run(f"{VISIBLE}.map(row => row.cells[0].dataset.sort)")) == {"resnet20_cifar"}
    assert " of " in page.run("document.querySelector('#tools output').textContent")
    write("")
    click(page, "#tools [data-verdict='not run']")
    assert set(page.run(f"{VISIBLE}.map(row => row.dataset.verdict)")) == {"not run"}
    click(page, "#tools [data-verdict='not run']")
    assert page.run(f"{VISIBLE}.length") == everything


def test_the_embedded_data_download(page):
    text = page.run("document.getElementById('raw').textContent")
    assert json.loads(text)["claims"]
    assert page.run("document.querySelector('#download a').href").startswith("blob:")
    assert page.run("document.querySelector('#download').hidden") is False


def test_folded_configurations_open_when_linked(page):
    page.run("document.getElementById('configuration-2').open = false")
    click(page, "nav a[href='#configuration-2']")
    opened = "document.getElementById('configuration-2').open"
    assert page.run(f"new Promise(done => {{ const look = () => {opened} ? done(true) : setTimeout(look, 20); look(); }})")


def test_nothing_overflows_and_pictures_are_taken(page, tmp_path):
    for width, scheme in ((1440, "light"), (1440, "dark"), (390, "light"), (390, "dark")):
        picture = page.look(tmp_path / f"{width}-{scheme}.png", width, scheme=scheme)
        assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
        assert page.run("document.documentElement.scrollWidth") <= width


def test_prints_every_claim(page, tmp_path):
    pdf = base64.b64decode(page.call("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF") and len(pdf) > 50_000


def test_no_request_and_no_complaint(page):
    """Last, so that it sees what all of the above caused."""
    requests = [event["params"]["request"]["url"] for event in page.events
                if event.get("method") == "Network.requestWillBeSent"]
    outside = [url for url in requests if not url.startswith(("file://", "data:", "blob:"))]
    assert not outside and len([url for url in requests if url.startswith("file://")]) == 1
    complaints = [event for event in page.events
                  if event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled",
                                             "Log.entryAdded")]
    assert not complaints
