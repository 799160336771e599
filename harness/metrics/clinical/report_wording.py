"""Words of reports in one form: spelling, abbreviations, doubts, and what "no change" denies."""

from __future__ import annotations

from harness.metrics.clinical.report_rewrites import rewrite

_CANNOT = r"(?:can ?not|could not|may not)"
_HARDLY = r"(?:difficult|hard|impossible|not possible|no way)"
_OUT = r"(?:exclude|rule out|dismiss|discount|eliminate|refute)"
_OUTED = r"(?:excluded|ruled out|dismissed|discounted|eliminated|refuted)"
_CHANGED = (
    r"(?:changed|increased|decreased|improved|progressed|worsened|resolved|cleared|grown|different|healed"
    r"|better|worse|larger|smaller|altered|diminished|disappeared|gone)"
)
_CHANGE = (
    r"(?:changes?|increases?|decreases?|improvements?|progression|worsening|enlargement|growth|reduction"
    r"|difference|alteration|resolution|clearing|clearance|regression)"
)
_SLIGHT = (
    r"(?:(?:definite|definitive|significant|appreciable|substantial|interval|relevant|marked|obvious|further"
    r"|apparent|acute|clear|convincing|radiographic|complete|discernible|discernable|detectable|visible|real"
    r"|major|xxxx|evidence of)[ ]+){0,3}"
)

WORDS = (
    rewrite("{ }", r"\{([^{}]*)\}", r"(\1)"),
    rewrite('{ } "', r"[{}\"]", ""),
    rewrite("'", r"(?<!\w)'(?=\w)|(?<=\w)'(?=[ \t]*[:,}\]])", ""),
    rewrite("can't", r"\bcan't\b", "cannot"),
    rewrite("n't", r"n't\b", " not"),
    rewrite("ruled-out", r"\bruled-out\b", "ruled out"),
    rewrite("xx", r"\bX{2,}\b", "xxxx"),
    rewrite("∅ ø ⊘ ¬", r"(?<!\w)[∅Ø⊘¬]+\s*(?=[a-z])", "no "),
    rewrite("w/o w/ o w/out w/ out", r"\bw/[ ]?o(?:ut)?\b", "without"),
    rewrite("w/", r"\bw/(?=\s|[a-z])", "with "),
    rewrite("c/w", r"\bc/w\b", "consistent with"),
    rewrite("e/o", r"\be/o\b", "evidence of"),
    rewrite("r/o rule-out", r"\b(?:r/o|rule-out)\b", "rule out"),
    rewrite("h/o", r"\bh/o\b", "history of"),
    rewrite("s/p", r"\bs/p\b", "status post"),
    rewrite("vs.", r"\bvs\.", "versus"),
    rewrite("ptx", r"\bptx\b", "pneumothorax"),
    rewrite("pna", r"\bpna\b", "pneumonia"),
    rewrite("atx", r"\batx\b", "atelectasis"),
    rewrite("eff", r"\b(?:pl(?:eur(?:al)?)?[ .]+)?eff(s?)\b\.?(?=[\s,;:?)/]|$)", r"effusion\1"),
    rewrite("dz", r"\bdz\b", "disease"),
    rewrite("consol", r"\bconsol\b", "consolidation"),
    rewrite("nad", r"\bnad\b", "no abnormality detected"),
    rewrite("wnl", r"\bwnl\b", "within normal limits"),
    rewrite("-ve", r"(?<!\w)-ve\b", "negative"),
    rewrite("+ve", r"(?<!\w)\+ve\b", "positive"),
    rewrite("neg", r"\bneg\.?(?: for)?(?= [a-z])", "negative for"),
    rewrite("pos", r"\bpos\.?(?: for)?(?= [a-z])", " ; positive for"),
    rewrite("grade", r"\bgrade 0(?= [a-z])", "no"),
    rewrite("-free", r"\b([a-z]{5,})-free\b", r"no \1"),
    rewrite("oedema", r"\boedema", "edema"),
    rewrite("haemo", r"haemo", "hemo"),
    rewrite("haem", r"haem", "hem"),
    rewrite("tumour", r"\btumour", "tumor"),
    rewrite("oesoph", r"\boesoph", "esoph"),
    rewrite("calibre centre", r"\b(calib|cent)re\b", r"\1er"),
    rewrite(
        "is",
        r"\b(visual|local|cavit|character|central|normal|mineral|aneurysmal|recogn|stabil|organ)is(e|ed|ing|ation)\b",
        r"\1iz\2",
    ),
)
"""Abbreviations are written out, and spelling becomes American."""

DOUBTS = (
    rewrite(
        "excl rule dismiss discount elim refut",
        rf"\b(?:is |are |was |were )?{_HARDLY} to (?:\w+ly )?{_OUT}"
        r"(?=\s*(?:[.;,]|$|(?:on|by|given|at|in|with)\b))",
        "cannot be excluded",
    ),
    rewrite(
        "excl rul dismiss discount elim refut",
        rf"\b(?:{_CANNOT}|unable to|not able to|{_HARDLY} to|(?:do|does|did|might|will) not|not)"
        rf" (?:\w+ly )?(?:{_OUT}|excluding|ruling out)\b",
        "cannot exclude",
    ),
    rewrite(
        "excl rul dismiss discount elim refut",
        rf"\b(?:{_CANNOT}|(?:unable|not able|{_HARDLY}) to|(?:is|are|was|were|has|have) not|not"
        rf"|(?:should|must|needs? to|has to|have to|remains? to|still to|yet to)(?= (?:\w+ )?be\b))"
        rf"(?: (?:be|been|yet|\w+ly))* {_OUTED}\b",
        "cannot be excluded",
    ),
    rewrite(
        "distinguish differentiat separat",
        rf"\b{_CANNOT} be (?:\w+ly )?(?:distinguished|differentiated|separated) from\b",
        "versus",
    ),
    rewrite(
        "distinguish differentiat separat",
        rf"\b{_CANNOT} be (?:\w+ly )?(?:distinguished|differentiated|separated)\b",
        "cannot be excluded",
    ),
    rewrite(
        "distinguish differentiat separat",
        rf"\b(?:{_CANNOT}|unable to|{_HARDLY} to) (?:\w+ly )?(?:distinguish|differentiate|separate)\b",
        "cannot exclude",
    ),
    rewrite(
        "though but however yet",
        r"\b(?:no|without|unlikely)\b(?:[ ](?:\w+[ ]){0,3}?(?:evidence|signs?|suggestion) of)?"
        r"(?P<words>[^.;]{0,80}?),? (?:(?:al)?though|but|however|yet),? (?:it|this|they) "
        r"(?:(?:is|are) (?:still )?possible|remains? (?:possible|a possibility)|cannot be excluded)\b",
        r"cannot exclude\g<words>",
    ),
    rewrite("excluded", r"\b(?:can )?neither be \w+ nor excluded\b", "cannot be excluded"),
    rewrite(
        "unlikely", r"\b(?:is )?unlikely,? but (?:\w+ )?(?:cannot be excluded|possible)", "cannot be excluded"
    ),
    rewrite("excluded", r"\bcan (?:now )?be (?:\w+ly )?excluded\b", "is excluded"),
    rewrite("ruled", r"\bcan (?:now )?be (?:\w+ly )?ruled out\b", "is ruled out"),
    rewrite("excl rule", r"(?<!not )\b(?:can (?:\w+ly )?|able to )(?:exclude|rule out)\b", "excludes"),
    rewrite("if there", r"\bif there (?:is|are|was|were)\b", "in case of"),
    rewrite("exclusion", r"\bexclusion of\b(?=[^.;]*\b(?:not|im)(?: be)? ?possible\b)", "cannot exclude"),
    rewrite(
        "exclu ruling",
        r"\b(?:no|inability|insufficient|without)\b[^.;,]{0,30}?"
        r"\b(?:exclusion of|to (?:exclude|rule out)|excluding|ruling out)\b",
        "cannot exclude",
    ),
    rewrite(
        "consider",
        r"\b(?:remains?|is|are) (?:still )?(?:under consideration|a consideration)\b",
        "is possible",
    ),
    rewrite(
        "consider",
        r"\b(?:should|must|may|can|could|has to|needs to|to) (?:also |still )?be considered\b",
        "is possible",
    ),
    rewrite("consider", r"\bconsideration (?:should|may|can|could) be given to\b", "possible"),
    rewrite(
        "raise",
        r"\b(?:raises?|raising) (?:the )?(?:\w+ )?(?:possibility|question|concern|suspicion)\b",
        "suggests possible",
    ),
    rewrite("question", r"\bnot (?:entirely )?out of the question\b", "is possible"),
    rewrite("query queries", r"\b(?:query|queries)\b(?= [a-z])", "possible"),
    rewrite("+/- ±", r"(?<![\w)])(?:\+/-|±)\s*(?=[a-z])", " ; possible "),
    rewrite("?", r"(?<=[a-z][ ])\?+\s*(?=[a-z])", " ; possible "),
    rewrite("?", r"(?:^|(?<=[\s(,;:/]))\?+\s*(?=[a-z])", " possible "),
    rewrite(
        "if ",
        r"\bif\b(?=[^.,;]{3,60} (?:is|are|remains?) (?:clinically |still )?(?:suspected|a concern))",
        "in case of",
    ),
    rewrite(
        "possib probab likely suspect question",
        r",\s*(?=(?:possibl[ey]|probabl[ey]|likely|suspected|questionable)\s+[a-z])",
        " ; ",
    ),
)
"""All wordings of "cannot exclude" become one."""

CHANGES = (
    rewrite("no more", r"\bno more than\b", "at most"),
    rewrite("no longer", r"\bno longer (?:as|so|quite as) \w+", "not changed"),
    rewrite(
        "evidence that sign that suggestion that",
        rf"\bno (?:evidence|signs?|suggestion) that (?=[^.;]{{3,60}}\b(?:has|have|is|are) {_CHANGED}\b)",
        "",
    ),
    rewrite(
        "resolution clear",
        r"\b(?:to|until) (?:ensure|document|confirm|assess|verify|establish|demonstrate|show)(?: \w+)?"
        r" (?:resolution|clearing|clearance) of\b",
        "of",
    ),
    rewrite(
        "following after",
        r"\b(?:following|after) (?=(?:\w+ ){0,5}(?:placement|insertion|thoracentesis|biopsy|surgery)\b)",
        "; ",
    ),
    rewrite(
        "enlarged", r"\bnot (?:significantly|markedly|grossly|overtly|clearly|frankly) (?=enlarged\b)", "not "
    ),
    rewrite(
        "not",
        r"\bnot (?:\w+ly )?(?:(?:consistent|compatible|in keeping) with|representing|due to|secondary to"
        r"|related to|suggestive of|indicative of)\b",
        "no",
    ),
    rewrite(
        "no without not",
        rf"\b(?:no|without|not any|nor)[ ]+{_SLIGHT}{_CHANGE}"
        r"(?=[ ]+(?:in|of|to|from|since|or|compared|with)\b)"
        r"(?![ ]+in (?:heart|cardiac) size)",
        "no change",
    ),
    rewrite(
        "not never nor yet",
        rf"\b(?:not|never)[ ]+(?:(?:yet|\w+ly|yet been|been|much|any|entirely)[ ]+){{0,2}}{_CHANGED}\b",
        "not changed",
    ),
    rewrite("no", r"\bno (?:larger|smaller|better|worse|different)\b", "not changed"),
    rewrite("fail", r"\bfail(?:s|ed|ing)? to (?:resolve|clear|improve|regress|heal)\b", "not changed"),
    rewrite(
        "partial incomplete near almost",
        r"\b(?:partial(?:ly)?|incomplete(?:ly)?|near(?:ly)?(?:[ -]complete(?:ly)?)?"
        r"|almost(?: complete(?:ly)?)?)"
        r"[ -](?:interval )?(resolution|resolved|clearing|cleared|clearance)\b",
        "decrease",
    ),
    rewrite(
        "absen lack without free negative devoid",
        r"\b(?:not|no|never|nor)[ ]+(?:(?:entirely|completely|truly|an?|any|the)[ ]+)?"
        r"(?:without|absent|absence of|lack of|lacking|free (?:of|from)|negative for|devoid of|clear of)\b",
        "with",
    ),
)
"""What denies a change or an absence states the finding."""
