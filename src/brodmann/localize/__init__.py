"""Who carries it: one file per method."""

from brodmann.localize.acdc import acdc
from brodmann.localize.causal_tracing import causal_tracing, traces
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
from brodmann.localize.sender_means import SenderMeans, sender_means
from brodmann.localize.trace import Trace, layers_as_neurons, read_traces, top_layers, write_trace
from brodmann.localize.until_stable import UntilStable

__all__ = [
    "METHODS",
    "Circuit",
    "EdgeScores",
    "KnowledgeNeurons",
    "Lape",
    "SenderMeans",
    "Trace",
    "UntilStable",
    "acdc",
    "causal_tracing",
    "cnl",
    "dcsn",
    "eap",
    "eap_ig",
    "edge_effects",
    "facts_of",
    "knowledge_neurons",
    "lape",
    "layers_as_neurons",
    "locate",
    "neft",
    "read_traces",
    "sender_means",
    "top_layers",
    "traces",
    "write_trace",
]
