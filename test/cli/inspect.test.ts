import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { build } from '../../scripts/build.mjs';
import { openTempFolder } from '../support/model-folder.ts';
import { repositoryRoot, runCommand } from '../support/packed.ts';

beforeAll(async () => {
  await build();
});

const fixtures = join(repositoryRoot, 'test/fixtures');
const models = join(repositoryRoot, 'models');

describe('inspect tells', () => {
  test('of a SavedModel its signatures, operators, weights, and what cannot be run', async () => {
    const told = await inspect(join(fixtures, 'savedmodel/resource_variables'));

    expect(told).toMatchObject({
      kind: 'source',
      format: 'saved-model',
      signatures: { serving_default: { inputs: { x: { dtype: 'float32' } }, outputs: { y: {}, scaled: {} } } },
      unusable: { counted: [expect.stringContaining('AssignAddVariableOp')] },
    });
    expect(told.ops).toMatchObject({ MatMul: expect.any(Number), GatherV2: expect.any(Number) });
    expect(told.ops).not.toHaveProperty('Const');
    expect(told.weights.tensors).toBeGreaterThan(2);
  });

  test('of a version its licence, golden examples, provenance, and operators of each variant', async () => {
    const told = await inspect('everyday10@stable', '--models', models);

    expect(told).toMatchObject({
      kind: 'version',
      name: 'everyday10',
      license: 'Apache-2.0',
      golden: 2,
      variants: [
        { id: 'tfjs-float32', ops: { _FusedConv2D: 6, _FusedMatMul: 1 } },
        { id: 'onnx-float32', ops: { Conv: 9, MatMul: 1 } },
      ],
      provenance: { sources: [{ format: 'tfjs-graph' }, { format: 'onnx' }] },
    });
    expect(await inspect(join(models, 'everyday10/1'))).toEqual(told);
  });

  test('the same as lines of text', async () => {
    const { stdout, status } = await nearfar('inspect', 'everyday10', '--models', models);

    expect(status).toBe(0);
    expect(stdout).toContain('variant onnx-float32');
    expect(stdout).toContain('Conv x9');
    expect(stdout).toContain('provenance: {');
  });
});

describe('inspect --html', () => {
  test('draws a variant of a version, the one that is named', async () => {
    await using folder = await openTempFolder();
    const html = join(folder.path, 'graph.html');

    const tfjs = await inspect('everyday10', '--models', models, '--html', html);
    const drawnTfjs = await drawn(html);
    await inspect('everyday10', '--models', models, '--html', html, '--variant', 'onnx-float32');
    const drawnOnnx = await drawn(html);

    expect(tfjs).toMatchObject({ kind: 'version', html });
    expect(drawnTfjs.labels).toEqual(expect.arrayContaining(['image', '_FusedConv2D', 'probabilities']));
    expect(drawnOnnx.labels.filter((label) => label === 'Conv')).toHaveLength(9);
    expect(drawnOnnx.edges.length).toBeGreaterThanOrEqual(drawnOnnx.labels.length - 1);
  });

  test('shows shapes, attributes and weights of a node', async () => {
    await using folder = await openTempFolder();
    const html = join(folder.path, 'graph.html');

    await inspect('everyday10', '--models', models, '--html', html);

    const { labels, facts } = await drawn(html);
    const first = Object.fromEntries(facts[labels.indexOf('_FusedConv2D')]!);
    expect(first).toMatchObject({
      output: 'float32 [?, 32, 32, 24]',
      'weight 1': expect.stringMatching(/float32 \[3, 3, 3, 24\], 2\.6 kB$/),
      padding: '"SAME"',
    });
  });

  test('puts the nodes of a big graph together by their scopes, and by their order where they have none', async () => {
    await using folder = await openTempFolder();
    const html = join(folder.path, 'graph.html');
    const model = join(folder.path, 'model.pbtxt');

    await writeFile(
      model,
      chain(3000, (index) => `block${Math.floor(index / 50)}/op${index}`),
    );
    await inspect(model, '--html', html);
    const scoped = await drawn(html);
    await writeFile(
      model,
      chain(3000, (index) => `op${index}`),
    );
    await inspect(model, '--html', html);
    const flat = await drawn(html);

    // With the input and the output.
    expect(scoped.labels).toHaveLength(3000 / 50 + 2);
    expect(Object.fromEntries(scoped.facts[scoped.labels.indexOf('block7')]!)).toEqual({ scope: 'block7', Relu: '25', Tanh: '25' });
    expect(flat.labels.length).toBeLessThan(402);
    expect(await readFile(html, 'utf8')).toContain('3001 nodes, drawn as');
  });

  test('takes names of the model as text, never as markup', async () => {
    await using folder = await openTempFolder();
    const html = join(folder.path, 'graph.html');
    const model = join(folder.path, 'model.pbtxt');
    const evil = `</script><script>alert(1)</script><img src=x onerror=alert(2)>`;
    await writeFile(model, chain(2, (index) => `op${index}`).replaceAll('op1', evil));

    await inspect(model, '--html', html);

    const page = await readFile(html, 'utf8');
    expect(page).not.toContain('<img');
    expect(page.match(/<script/g)).toHaveLength(2);
    expect((await drawn(html)).names).toContain(evil);
  });

  test('refuses a folder of versions and a variant that is not there', async () => {
    const several = await nearfar('inspect', join(models, 'everyday10'), '--html', 'nowhere.html', '--json');
    const unknown = await nearfar(
      'inspect',
      'everyday10',
      '--models',
      models,
      '--variant',
      'tfjs-int4',
      '--html',
      'nowhere.html',
      '--json',
    );

    expect(several.status).toBe(1);
    expect(JSON.parse(several.stdout)).toMatchObject({ error: { code: 'unsupported' } });
    expect(JSON.parse(unknown.stdout)).toMatchObject({ error: { code: 'not-found', message: expect.stringContaining('tfjs-float32') } });
  });
});

/** A GraphDef in text form: activations one after the other. */
function chain(length: number, nameOf: (index: number) => string): string {
  const type = 'value { type: DT_FLOAT }';
  const nodes = Array.from({ length }, (_, index) => {
    const input = index === 0 ? 'x' : nameOf(index - 1);
    return `node { name: "${nameOf(index)}" op: "${index % 2 === 0 ? 'Relu' : 'Tanh'}" input: "${input}" attr { key: "T" ${type} } }`;
  });
  return `node { name: "x" op: "Placeholder" attr { key: "dtype" ${type} } }\n${nodes.join('\n')}`;
}

interface Drawn {
  readonly labels: string[];
  readonly names: string[];
  readonly facts: [string, string][][];
  readonly edges: [number, number][];
}

async function drawn(html: string): Promise<Drawn> {
  const page = await readFile(html, 'utf8');
  const [first]: [Drawn] = JSON.parse(/<script type="application\/json" id="data">(.*?)<\/script>/s.exec(page)![1]!);
  return first;
}

async function inspect(...args: string[]) {
  const { stdout, stderr } = await nearfar('inspect', ...args, '--json');
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}

function nearfar(...args: string[]) {
  return runCommand(process.execPath, [join(repositoryRoot, 'dist/cli/main.js'), ...args]);
}
