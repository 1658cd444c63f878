"""Values that programs seldom expect, and one way to choose among them."""

NUMBERS = ["0", "-1", "1", "2", "-0.0", "0.5", "255", "65536", "2147483648", "-9223372036854775809", "1e30", "-1e30", "1e-30",
           "1e400", "nan", "inf", "-inf", "", " ", "text", "1,5", "0x10", "1_000", "\u0663", "--1", "9" * 5000,
           "1 " * 50, "\0", "none"]  # fmt: skip
VALUES = [None, True, -1, 0, 1, 2**31, 10**400, 1e30, float("nan"), float("inf"), "", "x", "1", "\0", "\ud800", "x" * 5000,
          "a\nb", [], [1], ["x"], [[[]]], {}, {"x": 1}, {"1": "LV"}]  # fmt: skip
EXTREMES = [0, 1, -1, 2, 127, 255, 32767, -32768, 2**31 - 1, -(2**31), 2**32 - 1, 2**62]
FLOATS = [0.0, -1.0, 1e-30, 1e30, -1e30, 3e38, float("nan"), float("inf"), float("-inf")]
ARGUMENTS = [*NUMBERS, ".", "-", "--", "---", "absent", "scan.nii.gz", "x/y/z.nii.gz", "a.nii", "a" * 300, "a/" * 3000, "\udcff",
             "\x1b[31m", "a\nb", "%s %d", "{0}", "=", ",", "1=LV", "1=LV,1=RV", "acdc", "lasc", "all",
             "None", "true", "[[[[", "*", "#1", "scan#1"]  # fmt: skip
OPTIONS = ["--help", "--debug", "--nonsense", "--fold", "--seed", "--set", "--base", "--bases", "--ed", "--es",
           "--apex-first", "--released", "--structures", "--labels", "--preset", "--experiment", "-o",
           "--weights", "--cine", "--report"]  # fmt: skip


def pick(choices, rng):
    return choices[rng.integers(len(choices))]
