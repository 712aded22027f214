"""Language models behind one protocol, `ModelClient`: what they are asked, what they answer, what that costs.

Read `client.py` first. `find_model` finds the user's model in the environment, `PydanticAIClient` talks to it, and
`PriceTable` prices it. Importing this package loads no provider's library and opens no connection.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import Message as Message
    from .client import ModelClient as ModelClient
    from .client import ModelReply as ModelReply
    from .client import ModelRequest as ModelRequest
    from .client import PaidRefusal as PaidRefusal
    from .client import PaidReplyCut as PaidReplyCut
    from .client import PaidReplyInvalid as PaidReplyInvalid
    from .client import Role as Role
    from .client import ToolCall as ToolCall
    from .client import ToolDefinition as ToolDefinition
    from .discovery import DEFAULT_MODELS as DEFAULT_MODELS
    from .discovery import describe_model as describe_model
    from .discovery import find_model as find_model
    from .failures import explain_failure as explain_failure
    from .finish_reasons import Ending as Ending
    from .finish_reasons import read_ending as read_ending
    from .masks import Mask as Mask
    from .masks import MaskColumn as MaskColumn
    from .masks import find_mask as find_mask
    from .mended import mend_model as mend_model
    from .prices import Price as Price
    from .prices import PriceTable as PriceTable
    from .prices import bound_tokens as bound_tokens
    from .prompt_prefix import PrefixBreak as PrefixBreak
    from .prompt_prefix import PrefixPart as PrefixPart
    from .prompt_prefix import PromptPrefix as PromptPrefix
    from .prompt_prefix import compare_prefixes as compare_prefixes
    from .prompt_prefix import compare_with_summary as compare_with_summary
    from .prompt_prefix import price_break_usd as price_break_usd
    from .prompt_prefix import read_prefix as read_prefix
    from .pydantic_ai_client import PydanticAIClient as PydanticAIClient
    from .rate_limits import RateLimits as RateLimits
    from .replies import check_reply as check_reply
    from .reply_schema import find_schema_problems as find_schema_problems
    from .reply_schema import read_json_reply as read_json_reply
    from .run_cost import RunCost as RunCost
    from .run_cost import find_price_name as find_price_name
    from .run_cost import find_unpriced as find_unpriced
    from .run_cost import known_models as known_models
    from .run_cost import measure_messages as measure_messages
    from .run_cost import read_run_cost as read_run_cost
    from .thoughts import ThoughtReader as ThoughtReader
    from .thoughts import is_known_to_leave_tags_open as is_known_to_leave_tags_open
    from .thoughts import strip_thoughts as strip_thoughts
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "client": "Message ModelClient ModelReply ModelRequest PaidRefusal PaidReplyCut PaidReplyInvalid Role "
            "ToolCall ToolDefinition",
            "discovery": "DEFAULT_MODELS describe_model find_model",
            "failures": "explain_failure",
            "finish_reasons": "Ending read_ending",
            "masks": "Mask MaskColumn find_mask",
            "mended": "mend_model",
            "prices": "Price PriceTable bound_tokens",
            "prompt_prefix": "PrefixBreak PrefixPart PromptPrefix compare_prefixes compare_with_summary "
            "price_break_usd read_prefix",
            "pydantic_ai_client": "PydanticAIClient",
            "rate_limits": "RateLimits",
            "replies": "check_reply",
            "reply_schema": "find_schema_problems read_json_reply",
            "run_cost": "RunCost find_price_name find_unpriced known_models measure_messages read_run_cost",
            "thoughts": "ThoughtReader is_known_to_leave_tags_open strip_thoughts",
        },
    )
