"""The terms of reports, each said once: the fold at the end of a page has them, and so has the term itself where it
stands marked."""

COMMON = {
    "Read": "What the network says of an image: the class with the highest probability, or the one beyond its "
            "threshold.",
    "Flip": "A read that turns into another one. Against the label, a read that is wrong before any change counts as "
            "flipped at size 0; against the prediction, the read of the clean image is the reference, right or wrong.",
    "Margin": "The logit of the reference minus the best other logit. A read flips where it falls below 0.",
    "Interval": "95 %, over patients (over images where no patients are known): shares by Clopper and Pearson at the "
                "effective number of independent images, all else by resampling patients. A dash: there are too "
                "few of them (below 10, or below 30 where all resamples agree). Each holds on its own: of twenty "
                "intervals, about one misses the truth.",
    "p": "The chance of a difference at least as large if there were none; corrected (Holm) where several are "
         "tested.",
    "Fold": "One of several networks, each trained without a share of the images and tested on it. A patient's images "
            "stay together in all of them.",
}
PIXELS = {
    "Change": "Its size is the largest change of any one pixel, in the images' own unit, and as a share of the range "
              "of valid values. An attack looks for the change within that size that hurts most.",
    "Smallest flip": "The smallest change found that flips the read. The true one may be smaller still, never larger.",
    "Robust accuracy": "The share of images that are read right under every change of at most a stated size that was "
                       "tried.",
    "Carried": "The accuracy if a flip at one size also counts at every larger one.",
    "Merged": "An image counts as flipped from the smallest size at which any attack flipped it; between the sizes "
              "tried nothing was searched.",
    "AURC": "Area under risk-coverage: the mean error among the kept reads, over all shares kept. Lower is better, and "
            "no single threshold decides it.",
    "AUGRC": "Area under generalised risk (arXiv:2407.01032): as AURC, with the errors kept counted as a share of all "
             "reads. Lower is better.",
    "Mean over views": "The mean margin of the clean read over augmented views of the image, as in training.",
    "Mean over networks": "The mean margin over networks that were trained alike from other seeds.",
    "Disagreement": "The standard deviation of the probability over networks that were trained alike from other seeds.",
    "All combined": "A logistic regression of right against wrong on the ranks of all other scores, fitted on "
                    "validation reads alone.",
}
NOISE = {
    "mAs": "The dose (tube load) of a scan that would have the noise in question. Lower dose, more noise: its power "
           "goes as 1/mAs, its sigma as 1/√mAs.",
    "SAN": "The share of images whose read flips at least once in K draws (or starts of a search). It grows with K; "
           "the flip rate of one draw does not.",
    "SAR": "Of one image, the share of the K draws that flip it. SAR5 is the SAR that 5 % of the images reach or "
           "exceed.",
    "Drift": "The mean of the margin under noise minus the clean margin, in logits: noise pushes every such read the "
             "same way.",
    "Jitter": "The standard deviation of the margin under noise, in logits: noise scatters the reads.",
    "P(flip)": "The chance that one draw of noise flips a read: Φ(−(margin + drift) / jitter).",
    "Critical mAs": "The dose below which P(flip) exceeds a stated level.",
    "±": "The standard deviation over the folds' networks: how much the value varies with the training. Intervals say "
         "how much it would vary with other patients.",
}
KNOWN = {name.lower(): words for name, words in (COMMON | PIXELS | NOISE).items()}


def anchor(name: str) -> str:
    """The id of a term in a page's glossary."""
    return "term-" + "".join(letter if letter.isalnum() else "-" for letter in name.lower())
