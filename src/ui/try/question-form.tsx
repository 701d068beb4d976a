import { type Signal, useSignal } from '@preact/signals';
import { useMemo } from 'preact/hooks';
import {
  type AnyTensor,
  decodeSafetensors,
  elementCount,
  type Manifest,
  NearfarError,
  type TaskName,
  type TensorInfo,
  taskNames,
} from '../../core/index.ts';
import { askServer, pathOf, toNearfarError } from '../api/index.ts';
import { Failure } from '../parts/index.ts';
import type { Question } from './ask-version.ts';
import { PicturePicker } from './picture-picker.tsx';
import { readSound } from './read-sound.ts';
import { exampleText, parseTensor } from './tensor-text.ts';

interface FormProps {
  readonly manifest: Manifest;
  /** What the button says. */
  readonly verb: string;
  readonly isBusy: boolean;
  readonly ask: (question: Question, picture: Blob | undefined) => void;
}

/** A form made of what a version takes: by its tasks as people have it, by its signatures as tensors. */
export function QuestionForm({ manifest, verb, isBusy, ask }: FormProps) {
  const tasks = taskNames.filter((name) => manifest.tasks?.[name] !== undefined);
  const signatures = Object.keys(manifest.signatures);
  const choices = [...tasks.map((name) => `task ${name}`), ...signatures.map((name) => `signature ${name}`)];
  const choice = useSignal(choices[0] ?? '');
  const [kind, ...name] = choice.value.split(' ');
  const [first = ''] = name;
  return (
    <div class="question">
      <label class="field">
        Ask
        <select value={choice.value} onChange={({ currentTarget }) => (choice.value = currentTarget.value)}>
          {tasks.map((task) => (
            <option key={task} value={`task ${task}`}>
              {task.replaceAll('-', ' ')}
            </option>
          ))}
          {signatures.map((signature) => (
            <option key={signature} value={`signature ${signature}`}>
              signature {signature}
            </option>
          ))}
        </select>
      </label>
      {kind === 'task' ? (
        <TaskForm key={choice.value} task={first as TaskName} manifest={manifest} verb={verb} isBusy={isBusy} ask={ask} />
      ) : (
        <SignatureForm key={choice.value} signature={name.join(' ')} manifest={manifest} verb={verb} isBusy={isBusy} ask={ask} />
      )}
    </div>
  );
}

function Submit({ verb, isBusy, isReady = true }: { readonly verb: string; readonly isBusy: boolean; readonly isReady?: boolean }) {
  return (
    <p class="row">
      <button type="submit" class="primary" disabled={isBusy || !isReady}>
        {isBusy ? 'Asking …' : verb}
      </button>
    </p>
  );
}

function TaskForm({ task, manifest, verb, isBusy, ask }: FormProps & { readonly task: TaskName }) {
  const input = inputOf(manifest, task);
  const picture = useSignal<Blob | undefined>(undefined);
  const text = useSignal('');
  const row = useSignal<Readonly<Record<string, string>>>({});
  const error = useSignal<NearfarError | undefined>(undefined);
  const isOfText = input['tokenizer'] !== undefined;
  const columns = Array.isArray(input['columns']) ? (input['columns'] as readonly Column[]) : undefined;
  const isOfSound = task === 'audio-classification';
  const submit = async (event: Event) => {
    event.preventDefault();
    error.value = undefined;
    try {
      if (columns) ask({ kind: 'task', task, body: json(rowOf(columns, row.value)) }, undefined);
      else if (isOfText) ask({ kind: 'task', task, body: json(text.value) }, undefined);
      else if (picture.value) {
        const body = isOfSound ? json(await readSound(picture.value)) : picture.value;
        ask({ kind: 'task', task, body }, isOfSound ? undefined : picture.value);
      }
    } catch (cause) {
      error.value = toNearfarError(cause);
    }
  };
  return (
    <form onSubmit={submit} class="fields">
      {columns?.map((column) => (
        <label key={column.name} class="field inline">
          {column.name}
          <input
            inputMode={isNumeric(column) ? 'decimal' : 'text'}
            value={row.value[column.name] ?? ''}
            placeholder={column.missing === undefined ? 'needed' : `else ${column.missing}`}
            required={column.missing === undefined}
            onInput={({ currentTarget }) => (row.value = { ...row.value, [column.name]: currentTarget.value })}
          />
        </label>
      ))}
      {isOfText && (
        <label class="field">
          Text
          <textarea value={text.value} required onInput={({ currentTarget }) => (text.value = currentTarget.value)} />
        </label>
      )}
      {!columns && !isOfText && <PicturePicker file={picture} kind={isOfSound ? 'sound' : 'picture'} />}
      {error.value && <Failure error={error.value} />}
      <Submit verb={verb} isBusy={isBusy} isReady={columns !== undefined || isOfText || picture.value !== undefined} />
    </form>
  );
}

/** The fields of a task's input, which were checked when it was published. */
function inputOf(manifest: Manifest, task: TaskName): Readonly<Record<string, unknown>> {
  const spec = manifest.tasks?.[task] as { readonly input?: Readonly<Record<string, unknown>> } | undefined;
  return spec?.input ?? {};
}

interface Column {
  readonly name: string;
  readonly missing?: string | number;
  readonly transform: { readonly kind: string };
}

const numericKinds = ['standard', 'min-max', 'bucketise'];

function isNumeric({ transform }: Column): boolean {
  return numericKinds.includes(transform.kind);
}

/** Cells that say nothing are left out; what looks like a number is one, but where the column is of words. */
function rowOf(columns: readonly Column[], texts: Readonly<Record<string, string>>): object {
  const cells = columns.flatMap((column) => {
    const text = (texts[column.name] ?? '').trim();
    if (text === '') return [];
    const number = Number(text);
    if (isNumeric(column) && !Number.isFinite(number))
      throw new NearfarError('invalid-argument', `${column.name}: expected a number, got ${text}`);
    return [[column.name, Number.isFinite(number) && column.transform.kind !== 'vocabulary' ? number : text]];
  });
  return Object.fromEntries(cells);
}

function json(value: unknown): Blob {
  return new Blob([JSON.stringify(value)], { type: 'application/json' });
}

/** What stands for an input: what was written, or a tensor that was read from somewhere and is too large to be written. */
type Entered = { readonly text: string } | { readonly tensor: AnyTensor; readonly from: string };

function SignatureForm({ signature, manifest, verb, isBusy, ask }: FormProps & { readonly signature: string }) {
  const inputs = Object.entries(manifest.signatures[signature]?.inputs ?? {});
  const entered = useSignal<Readonly<Record<string, Entered>>>(
    Object.fromEntries(inputs.map(([name, info]): [string, Entered] => [name, { text: exampleText(info) }])),
  );
  const wrong = useSignal<Readonly<Record<string, NearfarError>>>({});
  const error = useSignal<NearfarError | undefined>(undefined);
  const golden = manifest.golden.filter((example) => example.signature === signature);
  const fill = async (path: string, from: string) => {
    try {
      const bytes = await (await askServer(pathOf('models', manifest.name, manifest.version, ...path.split('/')))).arrayBuffer();
      const tensors = decodeSafetensors(new Uint8Array(bytes));
      entered.value = Object.fromEntries(Object.entries(tensors).map(([name, tensor]): [string, Entered] => [name, { tensor, from }]));
      wrong.value = {};
    } catch (cause) {
      error.value = toNearfarError(cause);
    }
  };
  const submit = (event: Event) => {
    event.preventDefault();
    error.value = undefined;
    const problems: Record<string, NearfarError> = {};
    const tensors: Record<string, AnyTensor> = {};
    for (const [name, info] of inputs) {
      const value = entered.value[name] ?? { text: '' };
      try {
        tensors[name] = 'tensor' in value ? value.tensor : parseTensor(value.text, info);
      } catch (cause) {
        problems[name] = toNearfarError(cause);
      }
    }
    wrong.value = problems;
    if (Object.keys(problems).length === 0) ask({ kind: 'signature', signature, inputs: tensors }, undefined);
  };
  return (
    <form onSubmit={submit} class="fields" noValidate>
      {golden.length > 0 && (
        <p class="row small">
          <span class="soft">Fill in</span>
          {golden.map(({ inputs: path }, index) => (
            <button key={path} type="button" onClick={() => void fill(path, `golden example ${index + 1}`)}>
              Golden example {index + 1}
            </button>
          ))}
        </p>
      )}
      {inputs.map(([name, info]) => (
        <TensorField key={name} name={name} info={info} entered={entered} problem={wrong.value[name]} />
      ))}
      {inputs.length === 0 && <p class="soft">It takes nothing.</p>}
      {error.value && <Failure error={error.value} />}
      <Submit verb={verb} isBusy={isBusy} />
    </form>
  );
}

interface FieldProps {
  readonly name: string;
  readonly info: TensorInfo;
  readonly entered: Signal<Readonly<Record<string, Entered>>>;
  readonly problem: NearfarError | undefined;
}

function TensorField({ name, info, entered, problem }: FieldProps) {
  const { dtype, shape } = info;
  const value = entered.value[name];
  const isSingle = useMemo(() => elementCount(shape.map(Math.abs)) === 1 && shape.length <= 1, [shape]);
  const set = (next: Entered) => {
    entered.value = { ...entered.value, [name]: next };
  };
  const described = `of-${name}`;
  const shared = {
    id: `input-${name}`,
    'aria-invalid': problem !== undefined,
    'aria-describedby': described,
    spellcheck: false,
  };
  return (
    <div class="field">
      <label for={`input-${name}`}>
        <code>{name}</code>{' '}
        <span class="soft small">
          {dtype} [{shape.map((size) => (size === -1 ? 'any' : size)).join(', ')}]
        </span>
      </label>
      {value && 'tensor' in value ? (
        <p class="row banner small">
          <span id={`input-${name}`}>
            {value.from}: {value.tensor.dtype} [{value.tensor.shape.join(', ')}]
          </span>
          <button type="button" class="end" onClick={() => set({ text: exampleText(info) })}>
            Write it instead
          </button>
        </p>
      ) : isSingle ? (
        <input {...shared} class="code" value={value?.text ?? ''} onInput={({ currentTarget }) => set({ text: currentTarget.value })} />
      ) : (
        <textarea
          {...shared}
          class="code"
          placeholder={`${dtype} values as nested lists in JSON`}
          value={value?.text ?? ''}
          onInput={({ currentTarget }) => set({ text: currentTarget.value })}
        />
      )}
      <p id={described} class="wrong small" role={problem ? 'alert' : undefined}>
        {problem && (
          <>
            <code>{problem.code}</code> {problem.message}
          </>
        )}
      </p>
    </div>
  );
}
