"""The values of a conversation, in no provider's dialect."""

from flask_llm.chat.completion import Chunk, Completion, Usage
from flask_llm.chat.message import Message, ProviderState, part_from_dict
from flask_llm.chat.parts import (
    File,
    Image,
    Media,
    Part,
    Text,
    ToolCall,
    ToolResult,
)
from flask_llm.chat.prompt import Prompt, Tool, read_messages, read_tools

__all__ = [
    "Chunk",
    "Completion",
    "File",
    "Image",
    "Media",
    "Message",
    "Part",
    "Prompt",
    "ProviderState",
    "Text",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Usage",
    "part_from_dict",
    "read_messages",
    "read_tools",
]
