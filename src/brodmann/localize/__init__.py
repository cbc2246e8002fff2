"""Who carries it: one file per method."""

from brodmann.localize.acdc import acdc
from brodmann.localize.circuits import Circuit
from brodmann.localize.cnl import cnl
from brodmann.localize.dcsn import dcsn
from brodmann.localize.edge_ablation import edge_effects
from brodmann.localize.edge_attribution import eap, eap_ig
from brodmann.localize.edge_scores import EdgeScores
from brodmann.localize.knowledge_neurons import KnowledgeNeurons, facts_of, knowledge_neurons
from brodmann.localize.lape import Lape, lape
from brodmann.localize.locate import METHODS, locate
from brodmann.localize.neft import neft
from brodmann.localize.until_stable import UntilStable

__all__ = [
    "METHODS",
    "Circuit",
    "EdgeScores",
    "KnowledgeNeurons",
    "Lape",
    "UntilStable",
    "acdc",
    "cnl",
    "dcsn",
    "eap",
    "eap_ig",
    "edge_effects",
    "facts_of",
    "knowledge_neurons",
    "lape",
    "locate",
    "neft",
]
