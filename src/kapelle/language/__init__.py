"""Language: the English that is read by rules: words, stems, splits, facts, pronouns, the words of questions. Pure."""

from typing import TYPE_CHECKING

from .words import MIN_ROOT as MIN_ROOT
from .words import NUMBER_WORDS as NUMBER_WORDS
from .words import STOP_WORDS as STOP_WORDS
from .words import content_words as content_words
from .words import find_sentences as find_sentences
from .words import is_yes_no_question as is_yes_no_question
from .words import plain as plain
from .words import quote_text as quote_text
from .words import root as root
from .words import split_name as split_name
from .words import split_sentences as split_sentences
from .words import split_words as split_words
from .words import stem as stem
from .words import stems_of as stems_of
from .words import word_set as word_set

if TYPE_CHECKING:
    from .facts import MAX_FACT_DEPTH as MAX_FACT_DEPTH
    from .facts import Fact as Fact
    from .facts import Step as Step
    from .facts import is_singular as is_singular
    from .facts import parse_facts as parse_facts
    from .facts import replace_pronoun as replace_pronoun
    from .facts import split_items as split_items
    from .facts import split_listed as split_listed
    from .facts import split_owned as split_owned
    from .facts import split_steps as split_steps
    from .facts import without_article as without_article
    from .pronouns import find_referent as find_referent
    from .pronouns import replace_there as replace_there
    from .pronouns import subject_of as subject_of
    from .quantities import Quantity as Quantity
    from .quantities import find_quantities as find_quantities
    from .question_words import CONCEPTS as CONCEPTS
    from .question_words import DATE_WORDS as DATE_WORDS
    from .question_words import LONGEST_PHRASE as LONGEST_PHRASE
    from .question_words import PERSONAL as PERSONAL
    from .question_words import PIECE_WORDS as PIECE_WORDS
    from .question_words import UNIT_SUFFIXES as UNIT_SUFFIXES
    from .question_words import UNITS as UNITS
    from .question_words import VAGUE_HEADS as VAGUE_HEADS
    from .question_words import Phrase as Phrase
    from .question_words import ProseQuestion as ProseQuestion
    from .question_words import Token as Token
    from .question_words import find_phrase as find_phrase
    from .question_words import find_unit as find_unit
    from .question_words import fits_verb as fits_verb
    from .question_words import read_tokens as read_tokens
    from .question_words import stem_set as stem_set
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "facts": "MAX_FACT_DEPTH Fact Step is_singular parse_facts replace_pronoun split_items split_listed "
            "split_owned split_steps without_article",
            "pronouns": "find_referent replace_there subject_of",
            "quantities": "Quantity find_quantities",
            "question_words": "CONCEPTS DATE_WORDS LONGEST_PHRASE PERSONAL PIECE_WORDS UNIT_SUFFIXES UNITS VAGUE_HEADS "
            "Phrase ProseQuestion Token find_phrase find_unit fits_verb read_tokens stem_set",
        },
    )
