"""Measures pages in Chromium: whether they are wider than their window, and the contrast of their texts."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Sequence
from html import escape, unescape
from pathlib import Path
from typing import NamedTuple

from tests.e2e.browser import CHROMIUM_FLAGS
from tests.lab.network import Netns

LIGHT, DARK = "1", "0"  # of Blink's setting `preferredColorScheme`

# A page is in a frame of the width in question, because a window has a minimal width; its own policy forbids
# scripts, so the script stands around it. All `details` are opened, and not only what is seen first.
FRAME = '<iframe style="border:0;width:{width}px;height:800px" srcdoc="{page}"></iframe>'
PROBE = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">FRAMES<pre id="answer"></pre><script>
const rgba = (text) => { const n = text.match(/[0-9.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const contrast = (a, b) => {
  const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
const measure = (frame) => {
  const view = frame.contentWindow, page = frame.contentDocument;
  page.querySelectorAll("details").forEach((one) => one.open = true);
  const back = (one) => {
    for (; one; one = one.parentElement) {
      const colour = rgba(view.getComputedStyle(one).backgroundColor); if (colour[3] > 0) return colour;
    }
    return [255, 255, 255, 1];
  };
  const low = [], wide = []; let texts = 0;
  page.body.querySelectorAll("*").forEach((one) => {
    const box = one.getBoundingClientRect();
    if (box.right > view.innerWidth + 0.5 && box.width) wide.push(one.outerHTML.slice(0, 120));
    if (![...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !box.width) return;
    if (one.namespaceURI.endsWith("svg")) return;
    texts += 1;
    const ratio = contrast(rgba(view.getComputedStyle(one).color), back(one));
    if (ratio < 4.5) low.push([ratio, one.outerHTML.slice(0, 120)]);
  });
  return { width: page.documentElement.scrollWidth, wide: wide, low: low, texts: texts,
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches };
};
window.addEventListener("load", () => {  // which is after the load of all frames
  const frames = [...document.querySelectorAll("iframe")];
  document.getElementById("answer").textContent = JSON.stringify(frames.map(measure));
});
</script></body>"""


class Measured(NamedTuple):
    """What Chromium says of a page."""

    width: int  # of its content, in pixels
    wide: list[str]  # elements that reach beyond the window
    low: list[tuple[float, str]]  # texts whose contrast is below 4.5
    texts: int  # elements with a text
    dark: bool


def measure(netns: Netns, pages: Sequence[tuple[str, int]], *, scheme: str) -> list[Measured]:
    """Return what each page looks like in a window of its width."""
    frames = "".join(FRAME.format(width=width, page=escape(page)) for page, width in pages)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        probe = Path(folder, "probe.html")
        probe.write_text(PROBE.replace("FRAMES", frames), encoding="utf-8")
        command = (
            "chromium", *CHROMIUM_FLAGS, f"--user-data-dir={folder}/profile", "--window-size=1400,900",
            f"--blink-settings=preferredColorScheme={scheme}", "--dump-dom", f"file://{probe}",
        )  # fmt: skip
        dom = netns.run(*command, timeout_s=300).stdout
    answer = re.search(r'<pre id="answer">(.+?)</pre>', dom, re.DOTALL)
    assert answer, dom[-2000:]
    return [Measured(**measured) for measured in json.loads(unescape(answer[1]))]
