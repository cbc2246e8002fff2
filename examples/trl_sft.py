"""Train only the located neurons with TRL's SFTTrainer.

Run: python examples/trl_sft.py [--model smollm2-135m] [--data SPEC] [--out FOLDER]
     [--neurons 200] [--examples 256] [--steps 50]

It locates the neurons that carry a capability, gives them to SFTTrainer as its ``peft_config``,
and saves an adapter. It needs: pip install trl 'brodmann[tuning,gguf]'
"""

import argparse
from collections.abc import Sequence

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

import brodmann as bm

SPEC = "arithmetic/add:template=plain,max=99"


def as_dataset(examples: Sequence[bm.Example]) -> Dataset:
    """TRL's columns; with these two its loss is on the completion alone."""
    return Dataset.from_list([
        {"prompt": example.prompt + example.delimiter, "completion": example.answer}
        for example in examples
    ])  # fmt: skip


def trainer_of(
    model: bm.LanguageModel, neurons: bm.NeuronSet, dataset: Dataset, out: str, steps: int
) -> SFTTrainer:
    settings = SFTConfig(
        output_dir=out,
        max_steps=steps,
        per_device_train_batch_size=8,
        learning_rate=1e-3,  # for differences that start at zero; higher than for whole weights
        logging_steps=max(1, steps // 5),
        bf16=False,  # compute as the model was loaded; the deltas are float32 in any case
        report_to="none",
        use_cpu=model.device.type == "cpu",
    )
    return SFTTrainer(
        model=model.hf,
        args=settings,
        train_dataset=dataset,
        processing_class=model.tokenizer,
        peft_config=bm.neuron_tuning(model, neurons),
    )


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--data", default=SPEC)
    parser.add_argument("--out", default="tuned-by-trl")
    parser.add_argument("--neurons", type=int, default=200)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--steps", type=int, default=50)
    options = parser.parse_args(words)
    model = bm.load_model(options.model)
    examples = bm.load_examples(options.data, split="train", limit=options.examples)
    neurons = bm.locate(model, examples).top(k=options.neurons)
    print(neurons)
    trainer = trainer_of(model, neurons, as_dataset(examples), options.out, options.steps)
    trainer.model.print_trainable_parameters()  # pyrefly: ignore
    trainer.train()
    trainer.save_model(options.out)
    print(
        f"Saved in {options.out}. To load it: import brodmann, then "
        f"AutoPeftModelForCausalLM.from_pretrained({options.out!r})"
    )


if __name__ == "__main__":
    main()
