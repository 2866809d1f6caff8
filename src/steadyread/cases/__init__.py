"""Images with what is known of them: readers, preparation, splits, audit, and a synthetic phantom."""

from steadyread.cases import phantom
from steadyread.cases.audit import audit
from steadyread.cases.batching import batches, collate
from steadyread.cases.case_set import Cases, beside, fingerprint, image_marks, patient_marks
from steadyread.cases.geometry import Preparation, prepare
from steadyread.cases.glance import glance
from steadyread.cases.labels import in_order, of_finding, relabelled
from steadyread.cases.opening import open_cases
from steadyread.cases.reader import READERS, Reader, reader
from steadyread.cases.row import Row
from steadyread.cases.splits import balance, fold, limit, split
from steadyread.cases.spool import spooled

__all__ = ["READERS", "Cases", "Preparation", "Reader", "Row", "audit", "balance", "batches", "beside", "collate",
           "fingerprint", "fold", "glance", "image_marks", "in_order", "limit", "of_finding", "open_cases",
           "patient_marks", "phantom", "prepare", "reader", "relabelled", "split", "spooled"]
