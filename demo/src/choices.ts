import type { BackendId, Mode } from 'nearfar';
import { create, element } from './dom.ts';
import type { Choice } from './session.ts';

/** One model as the pickers show it. */
interface OfferedModel {
  readonly name: string;
  readonly versions: readonly string[];
}

const modes = ['prefer-on-device', 'only-on-device', 'prefer-server', 'only-server'] as const satisfies readonly Mode[];
const backends = ['tfjs-webgpu', 'onnx-webgpu', 'tfjs-wasm', 'onnx-wasm'] as const satisfies readonly BackendId[];

const storageKey = 'nearfar-demo-models';

/** Fills the pickers from the server's list, or offline from the list of the last visit; `onChange` follows every change. */
export async function watchChoices(onChange: (choice: Choice) => void): Promise<Choice> {
  const offered = await offeredModels();
  const model = element('model', HTMLSelectElement);
  const version = element('version', HTMLSelectElement);
  const fill = (select: HTMLSelectElement, values: readonly string[]) =>
    select.replaceChildren(...values.map((value) => create('option', { value }, value)));
  const fillVersions = () => fill(version, offered.find(({ name }) => name === model.value)?.versions ?? []);
  fill(
    model,
    offered.map(({ name }) => name),
  );
  fill(element('backend', HTMLSelectElement), ['auto', ...backends]);
  restoreFromAddress();
  fillVersions();
  model.addEventListener('change', fillVersions);
  document.querySelector('.model')?.addEventListener('change', () => onChange(currentChoice()));
  return currentChoice();
}

function currentChoice(): Choice {
  const mode = document.querySelector<HTMLInputElement>('input[name="mode"]:checked')?.value;
  const backend = element('backend', HTMLSelectElement).value;
  return {
    name: element('model', HTMLSelectElement).value,
    version: element('version', HTMLSelectElement).value,
    mode: modes.find((known) => known === mode) ?? 'prefer-on-device',
    backend: backends.find((known) => known === backend) ?? 'auto',
    allowSoftwareAdapter: element('software', HTMLInputElement).checked,
  };
}

/** `?model=everyday10&mode=only-server&backend=tfjs-webgpu&software` makes a view that can be linked to. */
function restoreFromAddress(): void {
  const wanted = new URLSearchParams(location.search);
  for (const radio of document.querySelectorAll<HTMLInputElement>('input[name="mode"]')) {
    if (radio.value === wanted.get('mode')) radio.checked = true;
  }
  element('software', HTMLInputElement).checked = wanted.has('software');
  const backend = wanted.get('backend');
  if (backend && backends.some((known) => known === backend)) element('backend', HTMLSelectElement).value = backend;
  const model = element('model', HTMLSelectElement);
  const name = wanted.get('model');
  if (name && [...model.options].some(({ value }) => value === name)) model.value = name;
}

interface ListedModel {
  readonly name: string;
  /** `tasks` is known of loaded versions. */
  readonly versions: readonly { readonly version: string; readonly tasks?: readonly string[] }[];
}

/** What can classify: other models have nothing to say of a photo. A version that is not loaded may still run on this device. */
function ofPictures({ name, versions }: ListedModel): OfferedModel {
  const able = versions.filter(({ tasks = ['image-classification'] }) => tasks.includes('image-classification'));
  return { name, versions: able.map(({ version }) => version) };
}

async function offeredModels(): Promise<readonly OfferedModel[]> {
  try {
    const response = await fetch('/nearfar/v1/models');
    if (!response.ok) throw new TypeError(`the server answered ${response.status}`);
    const { models }: { models: ListedModel[] } = await response.json();
    const offered = models.map(ofPictures).filter(({ versions }) => versions.length > 0);
    localStorage.setItem(storageKey, JSON.stringify(offered));
    return offered;
  } catch {
    const kept = localStorage.getItem(storageKey);
    return kept ? JSON.parse(kept) : [{ name: 'everyday10', versions: ['1'] }];
  }
}
