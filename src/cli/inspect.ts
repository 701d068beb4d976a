import type { Command } from 'commander';
import type { ModelTensor } from '../core/index.ts';
import { connectRepository, type Inspection, inspect, readManifest, summarizeVersion, type VersionSummary } from '../publish/index.ts';
import { runCommand } from './command.ts';
import { parseModelChoice } from './parse-option.ts';

type Tensors = Readonly<Record<string, Pick<ModelTensor, 'dtype' | 'shape'>>>;
type SignatureTensors = { readonly inputs: Tensors; readonly outputs: Tensors };

interface InspectFlags {
  readonly models?: string;
  readonly json?: boolean;
}

export function addInspect(program: Command): void {
  program
    .command('inspect')
    .description('say what a model file, a version or a published model is')
    .argument('<target>', 'a path; with --models: a name, name@version or name@label')
    .option('--models <repository>', 'folder or URL of a model repository')
    .option('--json', 'print the result as JSON')
    .action((target: string, flags: InspectFlags) => runCommand(flags, () => inspectTarget(flags, target), printInspection));
}

async function inspectTarget({ models }: InspectFlags, target: string): Promise<Inspection> {
  if (models === undefined) return await inspect(target);
  const { name, ...choice } = parseModelChoice(target);
  const { bytes } = await readManifest(connectRepository(models), name, choice);
  return { kind: 'version', ...(await summarizeVersion(bytes)) };
}

function printInspection(inspection: Inspection): string {
  switch (inspection.kind) {
    case 'model':
      return printModel(inspection.versions);
    case 'version':
      return printVersion(inspection);
    case 'source':
      return [
        `${inspection.format}, ${inspection.precision}, ${inspection.bytes} bytes`,
        ...Object.entries(inspection.signatures).flatMap(([name, tensors]) => [`  signature ${name}`, ...printSignature(tensors)]),
        `  operators: ${inspection.ops.join(' ')}`,
        ...Object.entries(inspection.unusable).map(([name, reasons]) => `  signature ${name} cannot be run: ${reasons.join('; ')}`),
      ].join('\n');
  }
}

function printModel({ name, versions, labels }: Extract<Inspection, { kind: 'model' }>['versions']): string {
  const labelled = (version: string) =>
    Object.entries(labels)
      .filter(([, target]) => target === version)
      .map(([label]) => ` ${label}`)
      .join('');
  return [name, ...versions.map(({ version, digest }) => `  ${version} ${digest}${labelled(version)}`)].join('\n');
}

function printVersion({ name, version, digest, signatures, tasks, variants }: VersionSummary): string {
  return [
    `${name} version ${version} ${digest}`,
    ...Object.entries(signatures).flatMap(([signature, tensors]) => [`  signature ${signature}`, ...printSignature(tensors)]),
    ...(tasks.length > 0 ? [`  tasks: ${tasks.join(', ')}`] : []),
    ...variants.map(({ id, bytes, chunks }) => `  variant ${id}: ${bytes} bytes in ${chunks} chunks`),
  ].join('\n');
}

function printSignature({ inputs, outputs }: SignatureTensors): string[] {
  return [...printTensors('  input', inputs), ...printTensors('  output', outputs)];
}

function printTensors(kind: string, tensors: Tensors): string[] {
  return Object.entries(tensors).map(([name, { dtype, shape }]) => `  ${kind} ${name}: ${dtype} [${shape?.join(', ') ?? 'any rank'}]`);
}
