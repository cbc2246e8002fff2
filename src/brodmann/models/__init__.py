"""Where the neurons are: any Hugging Face decoder, opened and proved, with its MLP neurons."""

from brodmann.models.language_model import LanguageModel
from brodmann.models.load import load_model, wrap_model
from brodmann.models.selfcheck import verify

__all__ = ["LanguageModel", "load_model", "verify", "wrap_model"]
