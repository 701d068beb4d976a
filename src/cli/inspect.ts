import type { Command } from 'commander';
import type { ModelTensor } from '../core/index.ts';
import {
  connectRepository,
  drawModel,
  drawVersion,
  type Inspection,
  inspect,
  inspectVersion,
  replaceFile,
  type SourceSummary,
  type VersionSummary,
} from '../publish/index.ts';
import { runCommand } from './command.ts';
import { parseModelChoice } from './parse-option.ts';

type Tensors = Readonly<Record<string, Pick<ModelTensor, 'dtype' | 'shape'>>>;
type SignatureTensors = { readonly inputs: Tensors; readonly outputs: Tensors };

interface InspectFlags {
  readonly models?: string;
  readonly html?: string;
  readonly variant?: string;
  readonly json?: boolean;
}

/** With --html also where the drawing went. */
type Inspected = Inspection & { readonly html?: string };

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('say what a model file, a version or a published model is')
    .argument('<target>', 'a path; with --models: a name, name@version or name@label')
    .option('--models <repository>', 'folder or URL of a model repository')
    .option('--html <file>', 'draw the graph into an HTML page that needs no network')
    .option('--variant <id>', 'of a version, the variant to draw (default: the first of TensorFlow.js)')
    .option('--json', 'print the result as JSON')
    .action((target: string, flags: InspectFlags) => runCommand(flags, () => inspectTarget(flags, target), printInspection));
}

async function inspectTarget({ models, html, variant }: InspectFlags, target: string): Promise<Inspected> {
  const choice = parseModelChoice(target);
  const repository = models === undefined ? undefined : connectRepository(models);
  const inspection = repository ? await inspectVersion(repository, choice) : await inspect(target);
  if (html === undefined) return inspection;
  const page = repository ? await drawVersion(repository, choice, variant) : await drawModel(target, variant);
  await replaceFile(html, new TextEncoder().encode(page));
  return { ...inspection, html };
}

function printInspection(inspection: Inspected): string {
  return [...printFacts(inspection), ...(inspection.html === undefined ? [] : [`drawn into ${inspection.html}`])].join('\n');
}

function printFacts(inspection: Inspection): string[] {
  switch (inspection.kind) {
    case 'model':
      return printModel(inspection.versions);
    case 'version':
      return printVersion(inspection);
    case 'source':
      return printSource(inspection);
  }
}

function printSource({ format, precision, bytes, signatures, ops, weights, unusable }: SourceSummary): string[] {
  return [
    `${format}, ${precision}, ${bytes} bytes`,
    ...Object.entries(signatures).flatMap(([name, tensors]) => [`  signature ${name}`, ...printSignature(tensors)]),
    `  operators: ${printOps(ops)}`,
    `  weights: ${weights.tensors} of ${weights.bytes} bytes`,
    ...Object.entries(unusable).map(([name, reasons]) => `  signature ${name} cannot be run: ${reasons.join('; ')}`),
  ];
}

function printModel({ name, versions, labels }: Extract<Inspection, { kind: 'model' }>['versions']): string[] {
  const labelled = (version: string) =>
    Object.entries(labels)
      .filter(([, target]) => target === version)
      .map(([label]) => ` ${label}`)
      .join('');
  return [name, ...versions.map(({ version, digest }) => `  ${version} ${digest}${labelled(version)}`)];
}

function printVersion({ name, version, digest, license, signatures, tasks, golden, variants, provenance }: VersionSummary): string[] {
  return [
    `${name} version ${version} ${digest}`,
    ...(license === undefined ? [] : [`  licence: ${license}`]),
    ...Object.entries(signatures).flatMap(([signature, tensors]) => [`  signature ${signature}`, ...printSignature(tensors)]),
    ...(tasks.length > 0 ? [`  tasks: ${tasks.join(', ')}`] : []),
    `  golden examples: ${golden}`,
    ...variants.flatMap(({ id, bytes, chunks, ops, weights }) => [
      `  variant ${id}: ${bytes} bytes in ${chunks} chunks`,
      `    operators: ${printOps(ops)}`,
      `    weights: ${weights.tensors} of ${weights.bytes} bytes`,
    ]),
    ...(provenance ? [`  provenance: ${JSON.stringify(provenance)}`] : []),
  ];
}

function printOps(ops: Readonly<Record<string, number>>): string {
  return Object.entries(ops)
    .map(([op, count]) => (count === 1 ? op : `${op} x${count}`))
    .join(' ');
}

function printSignature({ inputs, outputs }: SignatureTensors): string[] {
  return [...printTensors('  input', inputs), ...printTensors('  output', outputs)];
}

function printTensors(kind: string, tensors: Tensors): string[] {
  return Object.entries(tensors).map(([name, { dtype, shape }]) => `  ${kind} ${name}: ${dtype} [${shape?.join(', ') ?? 'any rank'}]`);
}
