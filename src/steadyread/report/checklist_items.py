"""The items of two checklists, in our own short words: what each asks, and what a run can never say of it.

TRIPOD+AI (Collins et al., BMJ 2024;385:e078378, doi:10.1136/bmj-2023-078378): 27 items, 52 with their parts. Of
METRICS (Kocak et al., Insights into Imaging 2024;15:8, doi:10.1186/s13244-023-01572-w): item 17. An author fills in
the checklists themselves, in their full wording; these rows say what goes into them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Guideline:
    """A checklist: its name as it is cited, what it is for, and its DOI."""

    name: str
    about: str
    doi: str


@dataclass(frozen=True)
class Asked:
    """One item. `marks`: D of development, E of evaluation, as TRIPOD+AI has them; else when the item applies.

    `left` is what no run can say, for the author to add where the run answers the rest.
    """

    number: str
    section: str
    topic: str
    marks: str
    asks: str
    left: str = ""


TRIPOD = Guideline("TRIPOD+AI", "reporting of clinical prediction models", "10.1136/bmj-2023-078378")
METRICS = Guideline("METRICS, item 17", "methodological quality of radiomics", "10.1186/s13244-023-01572-w")

_D, _E, _BOTH = "D", "E", "D;E"
_METHODS, _OPEN, _RESULTS, _END = "Methods", "Open science", "Results", "Discussion"
_UPDATED = "any recalibration or change made outside this run"

_FRONT = (
    Asked("1", "Title and abstract", "Title", _BOTH, "Development or evaluation, whom the model is for, what "
          "it predicts", "the title's own words, and the people the model is for"),
    Asked("2", "Title and abstract", "Abstract", _BOTH, "An abstract by the guideline's own list for "
          "abstracts"),
    Asked("3a", "Introduction", "Background", _BOTH, "Medical context, diagnosis or prognosis, why this "
          "model, earlier models"),
    Asked("3b", "Introduction", "Background", _BOTH, "Whom the model is meant for, its place in care, who "
          "would use it"),
    Asked("3c", "Introduction", "Background", _BOTH, "Known unequal health between groups of people"),
    Asked("4", "Introduction", "Objectives", _BOTH, "Aims; whether a model is developed, evaluated, or both",
          "what the study is to find out"),
)
_WHO = (
    Asked("5a", _METHODS, "Data", _BOTH, "Where the data of development and of evaluation come from, why "
          "these, whom they represent", "the kind of source (trial, cohort, registry, routine care), why "
          "these data, whom they represent"),
    Asked("5b", _METHODS, "Data", _BOTH, "When the data were collected: first and last participant, end of "
          "follow-up"),
    Asked("6a", _METHODS, "Participants", _BOTH, "The setting: kind of care, how many centres and where"),
    Asked("6b", _METHODS, "Participants", _BOTH, "Who was let in and who was left out", "the rules by which "
          "participants came into the data set"),
    Asked("6c", _METHODS, "Participants", _BOTH, "Treatments received, and what was done about them"),
    Asked("7", _METHODS, "Data preparation", _BOTH, "How the data were prepared and checked; alike for all "
          "groups of people?", "whether this was alike for all groups of people"),
    Asked("8a", _METHODS, "Outcome", _BOTH, "The outcome: what it is, how and when it was found, at what "
          "horizon, why this one, alike for all groups of people?", "how and when it was found, and why this "
          "outcome"),
    Asked("8b", _METHODS, "Outcome", _BOTH, "Where the outcome takes judgement: who judged it"),
    Asked("8c", _METHODS, "Outcome", _BOTH, "Whether those who found the outcome were blinded, and to what"),
    Asked("9a", _METHODS, "Predictors", _D, "How the predictors to begin with were chosen, and any choice "
          "among them before modelling", "why these images"),
    Asked("9b", _METHODS, "Predictors", _BOTH, "Each predictor: what it is, how and when it was measured, "
          "blinding", "how and when the images were taken (scanner, protocol), and blinding"),
    Asked("9c", _METHODS, "Predictors", _BOTH, "Where predictors take judgement (an outlined lesion): who "
          "judged them"),
    Asked("10", _METHODS, "Sample size", _BOTH, "How the numbers came about, for development and for "
          "evaluation, and whether they are enough", "how the numbers came about, and why they are enough"),
    Asked("11", _METHODS, "Missing data", _BOTH, "What was done about missing data, and why any were left out"),
)
_HOW = (
    Asked("12a", _METHODS, "Analysis", _D, "How the data were used and divided"),
    Asked("12b", _METHODS, "Analysis", _D, "In what form the predictors enter the model: scale, "
          "transformation"),
    Asked("12c", _METHODS, "Analysis", _D, "The kind of model and why; every step of building and tuning it; "
          "internal validation", "why this kind of model, and how its settings were chosen"),
    Asked("12d", _METHODS, "Analysis", _BOTH, "How differences between clusters (hospitals, countries) were "
          "handled and measured"),
    Asked("12e", _METHODS, "Analysis", _BOTH, "Every measure and plot of performance, and why these; how "
          "models are compared", "why these measures; calibration and clinical use, which are not measured "
          "here"),
    Asked("12f", _METHODS, "Analysis", _E, "Changes of the model that followed from its evaluation", _UPDATED),
    Asked("12g", _METHODS, "Analysis", _E, "How the predictions were computed in the evaluation"),
    Asked("13", _METHODS, "Class imbalance", _BOTH, "What was done about uneven classes and why, and any "
          "recalibration after it"),
    Asked("14", _METHODS, "Fairness", _BOTH, "What was done for fairness between groups, and why"),
    Asked("15", _METHODS, "Model output", _D, "What the model puts out, and how classes and thresholds came "
          "about"),
    Asked("16", _METHODS, "Training versus evaluation", _BOTH, "How the data of development and of evaluation "
          "differ in setting, eligibility, outcome and predictors", "how the parts differ in place, time and "
          "scanner"),
    Asked("17", _METHODS, "Ethical approval", _BOTH, "The ethics committee, and consent or its waiver"),
)
_SHARED = (
    Asked("18a", _OPEN, "Funding", _BOTH, "Who paid, and what part they had in the study"),
    Asked("18b", _OPEN, "Conflicts of interest", _BOTH, "Conflicts of interest of every author"),
    Asked("18c", _OPEN, "Protocol", _BOTH, "Where the protocol is, or that there was none"),
    Asked("18d", _OPEN, "Registration", _BOTH, "Register and number, or that the study was not registered"),
    Asked("18e", _OPEN, "Data sharing", _BOTH, "Whether and where the data can be had", "where, and on what "
          "terms"),
    Asked("18f", _OPEN, "Code sharing", _BOTH, "Whether and where the code of the analysis can be had",
          "where the code and these files can be had"),
    Asked("19", "Patient and public involvement", "Involvement", _BOTH, "What part patients and the public "
          "had, or that they had none"),
)
_FOUND = (
    Asked("20a", _RESULTS, "Participants", _BOTH, "How participants went through the study: how many, with "
          "and without the outcome; follow-up", "the way of participants into the data set; a diagram"),
    Asked("20b", _RESULTS, "Participants", _BOTH, "Who they are, by source and by group: dates, demographics, "
          "key predictors, treatments, outcomes, missing values", "dates, demographics, treatments"),
    Asked("20c", _RESULTS, "Participants", _E, "Key predictors and outcome of the evaluation data beside "
          "those of the development data", "demographics and predictors"),
    Asked("21", _RESULTS, "Model development", _BOTH, "Participants and outcome events in each analysis: "
          "development, tuning, evaluation"),
    Asked("22", _RESULTS, "Model specification", _D, "The whole model, so that others can apply it, and on "
          "what terms", "where the model can be had, and on what terms"),
    Asked("23a", _RESULTS, "Model performance", _BOTH, "Performance with confidence intervals, of key groups "
          "too", "key groups (age, sex, origin)"),
    Asked("23b", _RESULTS, "Model performance", _BOTH, "Where looked at: differences of performance between "
          "clusters"),
    Asked("24", _RESULTS, "Model updating", _E, "What updating gave: the new model and its performance",
          _UPDATED),
)
_MEANT = (
    Asked("25", _END, "Interpretation", _BOTH, "What the results mean, fairness included, beside aims and "
          "earlier studies"),
    Asked("26", _END, "Limitations", _BOTH, "Limits (whom the data represent, numbers, overfitting, missing "
          "data) and what they do to bias, certainty and generality", "what these do to the conclusions, and "
          "further limits"),
    Asked("27a", _END, "Usability in current care", _D, "In use: how poor or missing inputs are noticed and "
          "handled"),
    Asked("27b", _END, "Usability in current care", _D, "In use: what users must do with inputs and model, "
          "and what they must know"),
    Asked("27c", _END, "Usability in current care", _BOTH, "What is to come next, above all on where and for "
          "whom the model holds"),
)

TRIPOD_ITEMS: tuple[Asked, ...] = (*_FRONT, *_WHO, *_HOW, *_SHARED, *_FOUND, *_MEANT)
METRICS_ITEMS: tuple[Asked, ...] = (
    Asked("17", "Feature processing", "Robustness", "end-to-end networks", "Whether the results of an "
          "end-to-end network hold under a rescan, another reader's outlines, or a changed image (one of "
          "these), and how that was tested"),
)
ITEMS: dict[Guideline, tuple[Asked, ...]] = {TRIPOD: TRIPOD_ITEMS, METRICS: METRICS_ITEMS}
