"""Decode compressed frames with GDCM, which SimpleITK brings: FOLDER/NAME.dcm -> FOLDER/NAME.npy, (1, rows, columns).

This is a program of its own, because GDCM ends the whole process at some damaged frames and prints remarks about others.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    import numpy as np
    import SimpleITK as sitk

    for path in sorted(Path(sys.argv[1]).glob("*.dcm")):
        np.save(path.with_suffix(".npy"), sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO")))
