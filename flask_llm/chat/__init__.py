"""The values of a conversation, in no provider's dialect."""

from flask_llm.chat.batch import OVER, Batch
from flask_llm.chat.completion import Chunk, Completion, Usage
from flask_llm.chat.embedding import Embeddings, Inputs, read_texts
from flask_llm.chat.estimate import Estimate
from flask_llm.chat.media import File, Image, Media, media_type_of
from flask_llm.chat.message import Message, ProviderState, part_from_dict
from flask_llm.chat.parts import Part, Text, ToolCall, ToolResult
from flask_llm.chat.prompt import Prompt, read_messages
from flask_llm.chat.question import Question
from flask_llm.chat.results import tool_output
from flask_llm.chat.tool import Tool, ToolLike, read_tools

__all__ = [
    "OVER",
    "Batch",
    "Chunk",
    "Completion",
    "Embeddings",
    "Estimate",
    "File",
    "Image",
    "Inputs",
    "Media",
    "Message",
    "Part",
    "Prompt",
    "ProviderState",
    "Question",
    "Text",
    "Tool",
    "ToolCall",
    "ToolLike",
    "ToolResult",
    "Usage",
    "media_type_of",
    "part_from_dict",
    "read_messages",
    "read_texts",
    "read_tools",
    "tool_output",
]
