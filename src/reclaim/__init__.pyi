"""The public names, each with the file that holds it: what `from reclaim import …` finds."""

from reclaim.bridges.export import export_onnx as export_onnx
from reclaim.bridges.sklearn import CalibratedClassifier as CalibratedClassifier
from reclaim.calibration.calibrators.beta import Beta as Beta
from reclaim.calibration.calibrators.bias_corrected_temperature import (
    BiasCorrectedTemperature as BiasCorrectedTemperature,
)
from reclaim.calibration.calibrators.chain import Chain as Chain
from reclaim.calibration.calibrators.constrained import Constrained as Constrained
from reclaim.calibration.calibrators.dirichlet import Dirichlet as Dirichlet
from reclaim.calibration.calibrators.ensemble_temperature import EnsembleTemperature as EnsembleTemperature
from reclaim.calibration.calibrators.histogram import Histogram as Histogram
from reclaim.calibration.calibrators.isotonic import Isotonic as Isotonic
from reclaim.calibration.calibrators.logit_offset import LogitOffset as LogitOffset
from reclaim.calibration.calibrators.matrix import Matrix as Matrix
from reclaim.calibration.calibrators.order_preserving import OrderPreserving as OrderPreserving
from reclaim.calibration.calibrators.parametrised_temperature import ParametrisedTemperature as ParametrisedTemperature
from reclaim.calibration.calibrators.scaling_binning import ScalingBinning as ScalingBinning
from reclaim.calibration.calibrators.spline import Spline as Spline
from reclaim.calibration.calibrators.temperature import Temperature as Temperature
from reclaim.calibration.calibrators.vector import Vector as Vector
from reclaim.calibration.evidence import Evidence as Evidence
from reclaim.calibration.evidence import Selection as Selection
from reclaim.calibration.files import load_calibrator as load_calibrator
from reclaim.calibration.files import save_calibrator as save_calibrator
from reclaim.calibration.folding import affine_to_fold as affine_to_fold
from reclaim.calibration.protocol import Calibrator as Calibrator
from reclaim.calibration.protocol import Fitted as Fitted
from reclaim.calibration.protocol import as_affine as as_affine
from reclaim.core.affine import Affine as Affine
from reclaim.core.inference import Inference as Inference
from reclaim.data.inputs.arrays import AsTensors as AsTensors
from reclaim.data.inputs.image import Preprocess as Preprocess
from reclaim.data.inputs.text import Texts as Texts
from reclaim.data.load import load_data as load_data
from reclaim.data.records import Data as Data
from reclaim.data.records import Split as Split
from reclaim.models.classifier import Classifier as Classifier
from reclaim.models.directory import load_model as load_model
from reclaim.models.directory import save_model as save_model
from reclaim.models.head import fold as fold
from reclaim.models.merges.interpolation import interpolation as interpolation
from reclaim.models.predict import predict as predict
from reclaim.repairs.answers import repair_answers as repair_answers
from reclaim.repairs.choices import Choices as Choices
from reclaim.repairs.models import repair as repair
from reclaim.repairs.result import Repair as Repair
from reclaim.repairs.rows import MoreEvidence as MoreEvidence
from reclaim.report.diagnose import diagnose as diagnose
from reclaim.report.evaluate import Evaluation as Evaluation
from reclaim.report.evaluate import evaluate as evaluate
from reclaim.report.finding import Finding as Finding
from reclaim.report.page.render import render as render
from reclaim.snapshots.metrics.accuracy import Accuracy as Accuracy
from reclaim.snapshots.metrics.accuracy import accuracy as accuracy
from reclaim.snapshots.reading import load_snapshot as load_snapshot
from reclaim.snapshots.snapshot import Snapshot as Snapshot
from reclaim.snapshots.snapshot import seen_mask as seen_mask
from reclaim.snapshots.writing import save_snapshot as save_snapshot
from reclaim.training.budget import Budget as Budget
from reclaim.training.fit import fit as fit
from reclaim.training.fit import steps as steps
from reclaim.training.recipes.fine_tune import fine_tune as fine_tune
from reclaim.training.recipes.frozen_backbone import frozen_backbone as frozen_backbone
from reclaim.training.recipes.frozen_head import frozen_head as frozen_head
from reclaim.training.recipes.linear_probe import linear_probe as linear_probe
from reclaim.training.recipes.lora import lora as lora
from reclaim.training.recipes.lp_ft import lp_ft as lp_ft
from reclaim.training.recipes.wise_ft import wise_ft as wise_ft

__version__: str
