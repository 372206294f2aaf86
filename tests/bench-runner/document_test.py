"""What docs/benchmarks.md shows is run as it stands there: the least workload, the job for GitHub, the command lines."""

import json
import os
import re
import shutil
import subprocess
import unittest

import support
from runner import expressions, figures

try:
    import yaml
except ImportError:
    yaml = None

DOCUMENT = os.path.join(support.HERE, "../../docs/benchmarks.md")


def examples(language):
    with open(DOCUMENT, encoding="utf-8") as file:
        return re.findall(rf"^```{language}\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)


def write_checkout(path):
    """The least workload, as a file that can be run."""
    (text,) = examples("python")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)


class LeastWorkload(unittest.TestCase):
    def test_runs_and_has_its_figures(self):
        write_checkout(support.path("checkout"))
        done = support.bench(
            *("--program", "./checkout", "--workloads", "checkout", "--allocators", "glibc,neap"),
            *("--repeats", "1", "--out", support.path("least-workload")),
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = support.results("least-workload")["summary"]["checkout"]
        self.assertEqual(set(rows), {"glibc", "neap"})
        for name, row in rows.items():
            # 100,000 byte strings of 100 to 999 bytes, with 33 more each and a pointer
            self.assertTrue(55 < row["peak_mb"]["median"] < 80, (name, row["peak_mb"]))
            self.assertIn("idle_1s_mb", row)
            self.assertGreater(row["cpu_s"]["median"], 0)

    def test_says_what_the_line_of_json_says(self):
        """The line of the text and that of the example have the same keys, as far as the example goes."""
        write_checkout(support.path("checkout"))
        line = subprocess.run([support.path("checkout"), "--list"], capture_output=True, text=True, check=True).stdout
        (shown,) = map(json.loads, examples("json"))
        self.assertLessEqual(set(json.loads(line)), set(shown))


@unittest.skipUnless(yaml, "python3-yaml is not installed")
class GitHubJob(unittest.TestCase):
    def job(self):
        (text,) = examples("yaml")
        (job,) = yaml.safe_load(text).values()
        return job

    def test_is_a_job(self):
        job = self.job()
        self.assertEqual(set(job), {"runs-on", "steps"})
        for step in job["steps"]:
            self.assertEqual(len({"uses", "run"} & set(step)), 1, step)
        uploads = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
        self.assertEqual([step["if"] for step in uploads], ["always()"])

    def test_its_commands_run(self):
        """In a repository whose ./bench/checkout is the least workload; with one run of each where the job has five."""
        directory = support.path("repository")
        write_checkout(os.path.join(directory, "bench/checkout"))
        commands = "".join(step["run"] for step in self.job()["steps"] if "run" in step)
        self.assertIn("--repeats 5", commands)
        tools = os.path.dirname(support.NEAP)
        self.assertEqual(shutil.which("neap", path=tools), support.NEAP)
        done = subprocess.run(
            ["bash", "-e", "-c", commands.replace("--repeats 5", "--repeats 1")],
            env=support.environment(PATH=tools + ":/usr/bin:/bin"),
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=support.TIMEOUT,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        uploaded = [step["with"]["path"] for step in self.job()["steps"] if "with" in step]
        for path in uploaded:
            self.assertTrue(os.path.isfile(os.path.join(directory, path, "report.html")), path)


class CommandLines(unittest.TestCase):
    def words_after(self, option):
        text = "\n".join(examples("sh"))
        return re.findall(rf"{option} +('[^']*'|[^ \n]+)", text)

    def test_the_workloads_exist(self):
        listed = support.bench("list").stdout
        named = [name for words in self.words_after("--workloads") for name in words.split(",")]
        self.assertGreater(len(named), 2)
        for name in named:
            self.assertRegex(listed, rf"(?m)^  {re.escape(name)} ")

    def test_the_assertions_can_be_read(self):
        written = [word.strip("'") for word in self.words_after("--assert")]
        self.assertGreater(len(written), 1)
        for text in written:
            expressions.parse(text)

    def test_all_keys_for_assertions_are_there(self):
        with open(DOCUMENT, encoding="utf-8") as file:
            rows = re.findall(r"^\| [^|]+ \| (`[^|]+) \|", file.read(), re.MULTILINE)
        told = set(re.findall(r"`(\w+)`", " ".join(rows)))
        self.assertEqual(set(figures.BY_KEY), told)


if __name__ == "__main__":
    unittest.main()
