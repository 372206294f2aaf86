"""Files that are truncated or damaged: `neap` refuses them in words."""

import os
import random
import struct

from neap_tool.sources import LINKED, PROGRAM
from neap_tool.support import (
    CANNOT_TELL, IN_FRONT, LIBRARY, NeapTest, READY, TMP, build, fresh, neap, program, stand_in,
    static_program,
)


class DamagedFiles(NeapTest):
    def test_truncated_files(self):
        """Cut anywhere, a file is refused in words. (What is cut off behind the segments nobody needs.)"""
        with open(LIBRARY, "rb") as file:
            whole = file.read()
        end = self.end_of_segments(whole)
        for length in [*range(0, 200, 7), *range(200, end, end // 40), end - 1]:
            path = fresh("cut")
            with open(path, "wb") as file:
                file.write(whole[:length])
            os.chmod(path, 0o755)
            with self.subTest(length=length):
                reason = "is not an ELF file" if length < 4 else "is a truncated ELF file"
                self.check(CANNOT_TELL, reason, "--library", path, "--", program())
                if length >= 4:
                    self.check(CANNOT_TELL, "is a truncated ELF file", "--library", LIBRARY, "--", path)

    def end_of_segments(self, data):
        self.assertEqual(data[4], 2, "a 64-bit file")
        table, entry_size, count = struct.unpack_from("=Q14xHH", data, 32)
        ends = [sum(struct.unpack_from("=Q16xQ", data, table + i * entry_size + 8)) for i in range(count)]
        return max(ends)

    def test_damaged_files(self):
        """Whatever bytes are wrong, neap ends by itself and with one of its three answers."""
        generator = random.Random(1)
        static = build("static_neap", LINKED + PROGRAM, "-static", f"-DFLAGS={READY | IN_FRONT}")
        subjects = [(stand_in(READY | IN_FRONT), True), (static, False)]
        for source, is_library in subjects:
            with open(source, "rb") as file:
                whole = file.read()
            hot = [*range(0, 64 + 56 * 12), *self.dynamic_bytes(whole)]
            for _ in range(150):
                data = bytearray(whole)
                for _ in range(generator.randrange(1, 6)):
                    at = generator.choice(hot) if generator.random() < 0.8 else generator.randrange(len(data))
                    data[at] = generator.choice((0, 1, 0x7f, 0x80, 0xff, generator.randrange(256)))
                path = os.path.join(TMP, "damaged")
                with open(path, "wb") as file:
                    file.write(data)
                os.chmod(path, 0o755)
                args = ("--library", path, "--", static_program()) if is_library else \
                    ("--library", LIBRARY, "--", path)
                self.assertIn(neap("check", *args).returncode, (0, 1, 2))

    def dynamic_bytes(self, data):
        """The bytes of the dynamic section and of the symbol and hash tables, or of the section headers."""
        table, sections, entry_size, count = struct.unpack_from("=QQ6xHH", data, 32)
        hot = []
        for i in range(count):
            kind, offset, size = struct.unpack_from("=I4xQ16xQ", data, table + i * entry_size)
            if kind == 2:
                hot += range(offset, offset + size)
        return hot or range(sections, len(data))
