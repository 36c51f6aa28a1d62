#!/usr/bin/env python3
"""Pictures of pages in headless Chromium: 1200 and 400 pixels wide, light and dark, without a network.

    scripts/screenshots.py OUT PAGE...

A PAGE is an HTML file, or a folder: then all pages in it. Pictures are OUT/PAGE-WIDTH-SCHEME-1.png and on. Ends with
exit code 1 if a page writes an error to the console, asks for anything outside of its folder, is wider than the window,
or cuts a text off. PICTURES=1 takes the first picture of a page alone. Needs Chromium (or CHROMIUM=path) and nothing
beyond Python: it speaks to the browser through two pipes.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

WIDTHS = [1200, 400]
SCHEMES = ["light", "dark"]
# A long page is several pictures, each so tall; what lies below the last is not pictured, but is checked.
TALL, MOST = 1600, int(os.environ.get("PICTURES", "12"))

# What stands outside of the window or is cut off by a box that does not scroll. The title in mdbook's bar may end in
# dots.
CUT_OFF = """(() => {
  const wide = document.documentElement.clientWidth + 1, found = [];
  const name = e => e.tagName.toLowerCase() + (e.id ? '#' + e.id : '') + ' "' + (e.textContent || '').trim().slice(0, 50) + '"';
  if (document.documentElement.scrollWidth > wide) found.push('the page is ' + document.documentElement.scrollWidth + ' wide');
  for (const e of document.body.querySelectorAll('*')) {
    if (e.closest('svg') && e.tagName !== 'svg') continue;
    const box = e.getBoundingClientRect(), look = getComputedStyle(e);
    if (!box.width || !box.height || look.visibility === 'hidden' || look.position === 'fixed') continue;
    let above = e.parentElement, scrolls = false;
    for (; above; above = above.parentElement) {
      const s = getComputedStyle(above);
      if (/auto|scroll/.test(s.overflowX) || s.position === 'fixed' || s.clip !== 'auto' || above.id === 'mdbook-sidebar') {
        scrolls = true; break;
      }
    }
    if (!scrolls && look.clip === 'auto' && box.right > wide) found.push('outside: ' + name(e));
    if (/hidden|clip/.test(look.overflowX) && e.scrollWidth > e.clientWidth + 1 && look.clip === 'auto' && !scrolls
        && e.tagName !== 'svg' && !e.matches('.menu-title')) found.push('cut off: ' + name(e));
  }
  return [...new Set(found)].slice(0, 8);
})()"""


class Browser:
    """Chromium's DevTools protocol over its pipes: JSON messages with a zero byte between them."""

    def __init__(self, program, profile):
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()

        def pipes():
            # The browser reads from 3 and writes to 4; the copies leave any overlap of the numbers harmless.
            first, second = os.dup(to_browser), os.dup(from_browser)
            os.dup2(first, 3)
            os.dup2(second, 4)

        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe",
                 "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--host-resolver-rules=MAP * ~NOTFOUND", "--allow-file-access-from-files", f"--user-data-dir={profile}"]
        self.process = subprocess.Popen([program, *flags], close_fds=False, preexec_fn=pipes,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.rest, self.number, self.events, self.session = b"", 0, [], None

    def message(self):
        while b"\0" not in self.rest:
            part = os.read(self.read_end, 1 << 20)
            if not part:
                sys.exit("error: the browser ended")
            self.rest += part
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self.number += 1
        call = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            call["sessionId"] = self.session
        os.write(self.write_end, json.dumps(call).encode() + b"\0")
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    sys.exit(f"error: {method}: {message['error']['message']}")
                return message["result"]
            self.events.append(message)

    def open(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ["Page", "Network", "Runtime", "Log"]:
            self.call(f"{domain}.enable")

    def go(self, url):
        self.events = []
        self.call("Page.navigate", url=url)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())
        # What scripts do after loading: two frames and a moment.
        self.value("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 150))))")

    def value(self, expression):
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            sys.exit(f"error: {found['exceptionDetails']}")
        return found["result"].get("value")

    def close(self):
        os.close(self.write_end)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def complaints(events, root):
    """Console errors, and requests that leave the folder."""
    for event in events:
        method, of = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            yield f"exception: {of['exceptionDetails'].get('text')} {of['exceptionDetails'].get('exception', {}).get('description', '')}"
        if method == "Runtime.consoleAPICalled" and of["type"] in ("error", "assert"):
            yield "console: " + " ".join(str(part.get("value", part.get("description"))) for part in of["args"])
        if method == "Log.entryAdded" and of["entry"]["level"] == "error":
            yield f"log: {of['entry']['text']} {of['entry'].get('url', '')}"
        if method == "Network.requestWillBeSent":
            url = of["request"]["url"]
            parts = urllib.parse.urlsplit(url)
            inside = parts.scheme in ("data", "blob", "about")
            if parts.scheme == "file":
                path = pathlib.Path(urllib.parse.unquote(parts.path)).resolve()
                inside = path.is_relative_to(root)
            if not inside:
                yield f"leaves the page: {url[:200]}"


def pictures(browser, stem, width):
    height = max(300, int(browser.value("document.documentElement.scrollHeight")))
    for place in range(min(MOST, -(-height // TALL))):
        top = place * TALL
        clip = {"x": 0, "y": top, "width": width, "height": min(TALL, height - top), "scale": 1}
        shot = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        pathlib.Path(f"{stem}-{place + 1}.png").write_bytes(base64.b64decode(shot["data"]))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") \
        or shutil.which("google-chrome")
    if not program:
        sys.exit("error: no Chromium: install it, or give CHROMIUM=path")
    pages = []
    for given in map(pathlib.Path, sys.argv[2:]):
        root = (given if given.is_dir() else given.parent).resolve()
        files = sorted(given.rglob("*.html")) if given.is_dir() else [given]
        if not files or not all(file.is_file() for file in files):
            sys.exit(f"error: {given}: no page there")
        # Pages that another page holds, or that only lead on, are none by themselves.
        files = [file for file in files if file.name not in ("toc.html", "404.html", "print.html")]
        pages += [(root, file.resolve()) for file in files]
    faults = 0
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(program, profile)
        try:
            browser.open()
            for root, file in pages:
                name = str(file.relative_to(root).with_suffix("")).replace("/", "_")
                for width in WIDTHS:
                    for scheme in SCHEMES:
                        browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                                     deviceScaleFactor=1, mobile=False)
                        browser.call("Emulation.setEmulatedMedia",
                                     features=[{"name": "prefers-color-scheme", "value": scheme}])
                        browser.go(file.as_uri())
                        found = list(complaints(browser.events, root))
                        pictures(browser, out / f"{name}-{width}-{scheme}", width)
                        found += browser.value(CUT_OFF)
                        # Once more with everything open that can be.
                        browser.value("document.querySelectorAll('details').forEach(part => part.open = true)")
                        found += [f"opened: {what}" for what in browser.value(CUT_OFF)]
                        for what in dict.fromkeys(found):
                            print(f"{file.relative_to(root)} at {width} {scheme}: {what}", flush=True)
                            faults += 1
        finally:
            browser.close()
    print(f"{len(pages)} pages at {WIDTHS} pixels, {SCHEMES}, pictured in {out}: {faults} faults")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
