"""Enter neuron tuning into PEFT's tables of methods.

PEFT's own ``register_peft_method`` takes only the types of its closed list. Its tables are looked
up by the type's name, and a string that has the members of an enumeration serves as well.
"""

import peft
from peft import mapping

from brodmann.errors import RunError
from brodmann.tuning.config import NEURON_TUNING, NeuronTuningConfig
from brodmann.tuning.model import NeuronTuningModel

TABLES = (
    "PEFT_TYPE_TO_CONFIG_MAPPING",
    "PEFT_TYPE_TO_TUNER_MAPPING",
    "PEFT_TYPE_TO_PREFIX_MAPPING",
)


def register() -> None:
    """Enter the method into PEFT's tables; once is enough, more does no harm.

    Raises:
        RunError: this PEFT keeps its tables elsewhere.
    """
    tables = [t for name in TABLES if isinstance(t := getattr(mapping, name, None), dict)]
    if len(tables) < len(TABLES):
        raise RunError(
            f"Expected PEFT's tables {', '.join(TABLES)} in peft.mapping; PEFT {peft.__version__} "
            "keeps them elsewhere, so that neuron tuning cannot be registered. Write: "
            "pip install 'peft>=0.21,<0.22'."
        )
    entries = (NeuronTuningConfig, NeuronTuningModel, NeuronTuningModel.prefix)
    for table, entry in zip(tables, entries, strict=True):
        table[NEURON_TUNING] = entry
