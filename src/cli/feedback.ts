import type { Command } from 'commander';
import * as v from 'valibot';
import { askServer } from './ask-server.ts';
import { runCommand } from './command.ts';
import { addServerOptions, type ServerFlags } from './server-options.ts';
import { formatTable } from './table.ts';

const about = { version: v.string(), signature: v.string(), output: v.string(), count: v.number() };

const feedbackSchema = v.object({
  model: v.string(),
  isTaken: v.boolean(),
  outputs: v.array(
    v.variant('kind', [
      v.looseObject({
        ...about,
        kind: v.literal('classes'),
        accuracy: v.number(),
        meanConfidence: v.number(),
        calibrationError: v.number(),
        confusion: v.array(v.object({ predicted: v.string(), label: v.string(), count: v.number() })),
      }),
      v.looseObject({ ...about, kind: v.literal('numbers'), meanAbsoluteError: v.number(), rootMeanSquareError: v.number() }),
    ]),
  ),
});

export function addFeedback(program: Command): void {
  addServerOptions(program.command('feedback <model>').description('show how right the predictions of a running server were')).action(
    (model: string, flags: ServerFlags) => {
      const path = `models/${encodeURIComponent(model)}/feedback`;
      return runCommand(flags, ({ signal }) => askServer({ url: flags.url, path, answer: feedbackSchema, signal }), printFeedback);
    },
  );
}

/** Pairs of classes that are shown: the most frequent wrong ones. */
const mostPairs = 3;

function printFeedback({ model, isTaken, outputs }: v.InferOutput<typeof feedbackSchema>): string {
  if (outputs.length === 0) return `no feedback about ${model}${isTaken ? '' : ', which takes none (--feedback)'}`;
  const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
  const rows = outputs.map((output) => {
    const start = [output.version, output.signature, output.output, String(output.count)];
    if (output.kind === 'numbers') {
      return [
        ...start,
        `mean error ${output.meanAbsoluteError.toPrecision(4)}, root mean square ${output.rootMeanSquareError.toPrecision(4)}`,
        '',
      ];
    }
    const { accuracy, meanConfidence, calibrationError, confusion } = output;
    const wrong = confusion.filter(({ predicted, label }) => predicted !== label).slice(0, mostPairs);
    const right = `${percent(accuracy)} right at a confidence of ${percent(meanConfidence)}, calibration error ${percent(calibrationError)}`;
    return [...start, right, wrong.map(({ predicted, label, count }) => `${label} taken for ${predicted}: ${count}`).join(', ')];
  });
  return formatTable([['VERSION', 'SIGNATURE', 'OUTPUT', 'COUNT', 'HOW RIGHT', 'MOST MISTAKEN'], ...rows]);
}
