"""The names of what stands in a run's folder, the one place for them.

A run: settings, plan, records, findings, training, model, pictures, report. `members/`, `hardened/`,
`hardened-NAME/` and `equal/` are runs within it. A study of CT noise keeps each network in
`jobs/VARIANT/fold-NUMBER/` and each hardened one in `hardened/NAME/fold-NUMBER/`, with `round-NUMBER/` below.
"""

SETTINGS, FINDINGS = "study.json", "findings.json"     # the plan and the records name their own: `records`
MODEL, TRAINING, CHECKPOINT = "model.safetensors", "training.json", "checkpoint.pt"
PAGE, TEXT, SUMMARY, FIGURES = "report.html", "report.md", "summary.json", "figures"
EXAMPLES, ATTACKED, IMAGES, FAILED = "examples.npz", "attacked.npz", "images.json", "failed.json"
MEMBERS, HARDENED, EQUAL = "members", "hardened", "equal"
# of a study of CT noise
JOBS, CASES, SPECTRUM, NOISE_EXAMPLES = "jobs", "cases.csv", "spectrum.json", "noise_examples.npz"
COUNTED, CONVERGENCE = "counted.json", "convergence.json"
SEEN, SEEN_ARRAYS, EXPLAINED = "seen.json", "seen.npz", "explain"
HUNT, ROUND = "hunt.json", "round"
