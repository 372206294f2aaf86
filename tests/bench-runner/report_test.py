"""report.html: whole, self-contained, honest, and as a browser shows it."""

import html
import html.parser
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest
import unittest.mock
import xml.etree.ElementTree

import support

CHROMIUM = shutil.which("chromium")
DYGRAPHS = "/usr/share/javascript/dygraphs/dygraph.min.js"
VOID = {"meta", "link", "br", "img", "input", "hr"}

# Put into a copy of the report: opens the first chart, and says what can be seen in the document's title.
LOOK = """<script>
const said = []; window.addEventListener('error', (e) => said.push(e.message));
const first = document.querySelector('details.zoom'); if (first) first.open = true;
setTimeout(() => {
  const canvas = document.querySelector('.chart canvas');
  const wide = [...document.querySelectorAll('main *')].filter((e) => !e.closest('.scroll') && !e.closest('svg') &&
    e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((e) => e.tagName + '.' + e.className);
  const dark = getComputedStyle(document.body).backgroundColor;
  document.title = JSON.stringify({errors: said, canvas: canvas ? canvas.width : 0, wide, dark,
    scroll: document.documentElement.scrollWidth - document.documentElement.clientWidth, width: document.documentElement.clientWidth});
}, 300);
</script>"""


class Balance(html.parser.HTMLParser):
    """Every element is closed where it has to be; and where the document looks elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.elsewhere, self.ids, self.links = [], [], [], set(), set()

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attributes:
            if key in ("src", "href") and not value.startswith("#"):
                self.elsewhere.append(value)
            if key == "href" and value.startswith("#"):
                self.links.add(value[1:])
            if key == "id":
                self.ids.add(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append((tag, self.getpos()))


def report():
    support.known_answers()
    with open(support.path("known/report.html"), encoding="utf-8") as file:
        return file.read()


class Document(unittest.TestCase):
    def test_whole_and_self_contained(self):
        parsed = Balance()
        parsed.feed(report())
        self.assertEqual((parsed.wrong, parsed.open), ([], []))
        self.assertEqual(parsed.elsewhere, [])
        self.assertEqual(parsed.links - parsed.ids, set())
        style = "".join(re.findall(r"<style>(.*?)</style>", report(), re.DOTALL))
        self.assertNotRegex(style, r"@import|url\((?!['\"]?data:)")

    def test_losses_stand_beside_wins(self):
        text = report()
        worse, better = re.search(r"▼ (\d+) worse", text), re.search(r"▲ (\d+) better", text)
        self.assertTrue(worse and better)
        self.assertLess(text.index("<h3><span class='loss'>"), text.index("<h3><span class='win'>"))
        self.assertRegex(text, r"climbs \d+ KB a cycle")
        self.assertRegex(text, r"slow: \d+\.\d× CPU")

    def test_a_panel_for_each_allocator_with_the_same_axes(self):
        names = {allocator["name"] for allocator in support.known_answers()[1]["allocators"]}
        label = r'<text x="[\d.]+" y="[\d.]+" text-anchor="(?:end|middle)">([^<]*)</text>'
        for workload in ("burst", "cycles"):
            article = re.search(rf"<article id='{workload}'>.*?</article>", report(), re.DOTALL)[0]
            panels = re.findall(r"<svg class=\"panel\".*?</svg>", article, re.DOTALL)
            self.assertEqual(len(panels), len(names))
            axes = {tuple(re.findall(label, panel)) for panel in panels}
            self.assertEqual(len(axes), 1, axes)
            self.assertTrue(all('class="live"' in panel for panel in panels))
            self.assertEqual({">silent<" in panel for panel in panels}, {workload == "burst"})

    def test_svgs_stand_alone(self):
        directory = support.path("known/svg")
        files = sorted(os.listdir(directory))
        self.assertEqual(files, ["cost.svg", "memory-burst-trim.svg", "memory-burst.svg", "memory-cycles.svg"])
        for name in files:
            xml.etree.ElementTree.parse(os.path.join(directory, name))

    def test_csv(self):
        with open(support.path("known/figures.csv"), encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertEqual(lines[0], "workload,allocator,repeat,status,figure,value")
        self.assertRegex("\n".join(lines), r"(?m)^burst,glibc,1,ok,peak_mb,6\d\.\d+$")
        with open(support.path("known/samples.csv"), encoding="utf-8") as file:
            self.assertGreater(len(file.readlines()), 500)

    def test_without_the_chart_library(self):
        from runner import report as module, results

        with tempfile.TemporaryDirectory() as directory, unittest.mock.patch.object(module, "DYGRAPHS", "/nowhere"):
            said = module.write(results.Store(directory), support.known_answers()[1])
            with open(os.path.join(directory, "report.html"), encoding="utf-8") as file:
                text = file.read()
        self.assertIn("libjs-dygraphs is not installed", "\n".join(said))
        self.assertNotIn("<script", text)
        self.assertNotIn("class='zoom'", text)
        self.assertIn('<svg class="panel"', text)


@unittest.skipUnless(CHROMIUM, "chromium is not installed")
class Browser(unittest.TestCase):
    def look(self, width, is_dark):
        page = support.path("look.html")
        with open(page, "w", encoding="utf-8") as file:
            file.write(report().replace("</body>", LOOK + "</body>"))
        with tempfile.TemporaryDirectory() as profile:
            command = [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={profile}",
                f"--window-size={width},900",
                "--virtual-time-budget=4000",
                "--dump-dom",
                f"--blink-settings=preferredColorScheme={0 if is_dark else 1}",
                f"file://{page}",
            ]
            text = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
        title = re.search(r"<title>(\{.*?\})</title>", text)
        self.assertTrue(title, text[:300])
        return json.loads(html.unescape(title[1]))

    def test_three_widths_light_and_dark(self):
        for width, is_dark in ((1400, False), (820, True), (500, False)):
            with self.subTest(width=width, dark=is_dark):
                seen = self.look(width, is_dark)
                self.assertEqual(seen["errors"], [])
                self.assertEqual((seen["wide"], seen["scroll"]), ([], 0))
                if os.path.exists(DYGRAPHS):
                    self.assertGreater(seen["canvas"], width / 3)
                self.assertEqual(seen["dark"], "rgb(18, 23, 29)" if is_dark else "rgb(255, 255, 255)")


if __name__ == "__main__":
    unittest.main()
