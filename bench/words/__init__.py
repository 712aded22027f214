"""Questions in words over a folder, as a person new to it asks them, against the truth: without a model.

    python -m bench.words [--split dev|held] [--misses N] [--json]
    python -m bench.words --questions FILE --data FOLDER [--misses N] [--json]

A question file has one JSON object a line. `question` is what is asked; `sql` is the truth, over the tables of the
folder as kapelle names them: null where the folder does not hold it, several queries where any of their results is an
answer. A question about documents has `answer` instead: texts of which the answer must hold one. `folder` is the folder
below FOLDER; without it, FOLDER itself.

What is counted:
    right         all rows of the truth and no others; columns may be more. Numbers that are not whole may be off by
                  0.5 %. Rows may stand in any order unless the truth has an ORDER BY
    wrong         any other answer, and any answer at all to what the folder does not hold
    unanswered    the run ended without an answer
    wrong_share   wrong, of the answered
    right_share   right, of the questions that the folder answers

The questions that are here, 300 over five small folders, were written without a look at the rules that answer them.
Half of them, by a hash, are `dev`: words and rules may be set by looking at these. `held` is not for tuning, and its
questions are not to be looked at: so --misses shows none of them.
"""
