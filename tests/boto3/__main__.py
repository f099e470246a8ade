# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the tests of this folder and sums them up in one line."""

import pathlib
import sys
import unittest

suite = unittest.defaultTestLoader.discover(str(pathlib.Path(__file__).parent))
result = unittest.TextTestRunner(verbosity=2).run(suite)
failed = len({test.id().partition(" ")[0] for test, _ in result.failures + result.errors})
skipped = len(result.skipped)
print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
sys.exit(0 if result.wasSuccessful() else 1)
