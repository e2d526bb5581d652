"""Restoration: what time, cameras and files did to a picture, undone. Torch comes with the work.

from sfumato.restore import restore
restore("old.jpg", output="new.png")
"""

from sfumato.restore.mend import RestoreOptions, Restorer, restore

__all__ = ["RestoreOptions", "Restorer", "restore"]
