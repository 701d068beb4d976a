import { type Remote, transfer } from 'comlink';
import {
  type Classification,
  type ClassifyAnswer,
  type ClassifyCall,
  type DeviceWorkerApi,
  type ImageInput,
  type Leg,
  legsOf,
  type Manifest,
  type MediaWorkerApi,
  type Mode,
  NearfarError,
  type Pin,
  type Pixels,
  type PredictAnswer,
  type RgbImage,
  type ServerAnswer,
  type ServerTarget,
  type TaskAnswer,
  type TensorMap,
} from '../core/index.ts';
import { type Breaker, createBreaker } from './breaker.ts';
import type { Channel } from './channel.ts';
import type { Clock } from './clock.ts';
import type { DeviceLeg } from './device-leg.ts';
import { type EventHub, listen, unlisten } from './events.ts';
import { type CallLeg, runWithFailover, untilAborted } from './failover.ts';
import { type Photo, toImageSource } from './image-source.ts';
import { type Limit, openLimit, withoutLimit } from './limit.ts';
import type {
  CallOptions,
  ClassifiedFrame,
  ClassifyPhotoOptions,
  ClassifyStreamOptions,
  FrameSource,
  Model,
  ModelFaults,
  ModelInfo,
  ModelTasks,
  PredictOptions,
  TaskOptions,
} from './model.ts';
import { atLeast, countOf } from './options.ts';
import type * as Predicting from './predict-plan.ts';
import { createRunReport, type LegAnswer, type RunReport } from './run-report.ts';
import type { ServerLeg } from './server-leg.ts';
import type { TensorInput } from './tensor-input.ts';

export interface ModelParts {
  readonly name: string;
  readonly mode: Mode;
  readonly pin: Pin;
  readonly manifest: Manifest;
  readonly labels: readonly string[] | undefined;
  readonly hub: EventHub;
  readonly clock: Clock;
  readonly media: Channel<MediaWorkerApi>;
  readonly device: DeviceLeg | undefined;
  readonly server: ServerLeg | undefined;
  readonly baseUrl: string | undefined;
  readonly onClose: () => void;
  readonly hedgeAfterMs: number | undefined;
  /** What `predict` needs; without it the first call loads it. */
  readonly predicting: typeof Predicting | undefined;
}

/** How one kind of call is made on either leg. */
export interface CallPlan<Answer> {
  readonly preprocessMs: number;
  readonly onDevice: (api: Remote<DeviceWorkerApi>, handle: number, callId: number) => Promise<Answer>;
  readonly onServer: (
    api: Remote<MediaWorkerApi>,
    target: ServerTarget,
    callId: number,
    deadlineMs: number,
  ) => Promise<ServerAnswer<Answer>>;
}

/** Loaded while a model opens: few bytes, for who asks by tensors alone. */
export const loadPredicting = () => import('./predict-plan.ts');

/** Up to this size the worker that answers prepares decoded pixels itself: another trip to a worker takes longer. */
const fewBytes = 2 ** 20;

const breakerOptions = { failureThreshold: 3, coolDownMs: 30_000 };

/** The model that a client hands out: each call goes to one of its two legs, or to both, one after the other. */
export class LiveModel implements Model {
  readonly #parts: ModelParts;
  readonly #breakers: Readonly<Record<Leg, Breaker>>;
  readonly #underWay = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;
  #leg: Leg;
  #labels: readonly string[] | undefined;

  constructor(parts: ModelParts) {
    this.#parts = parts;
    this.#breakers = { 'on-device': createBreaker(parts.clock, breakerOptions), server: createBreaker(parts.clock, breakerOptions) };
    this.#leg = this.#firstLeg();
  }

  get info(): ModelInfo {
    const { name, mode, pin, manifest, labels, device } = this.#parts;
    this.#labels ??= labels ?? device?.opened?.labels;
    return { name, mode, ...pin, labels: this.#labels, signatures: manifest.signatures, manifest, leg: this.#firstLeg() };
  }

  readonly faults: ModelFaults = {
    loseDevice: async () => this.#parts.device?.breakByLoss(),
    hangDevice: (durationMs) => this.#parts.device?.breakByHang(durationMs),
    cutServer: (isCut) => {
      if (this.#parts.server) this.#parts.server.isCut = isCut;
    },
  };

  classify(photo: Photo, options: ClassifyPhotoOptions = {}): Promise<{ predictions: readonly Classification[]; run: RunReport }> {
    return this.#track(options, async (scope) => {
      const { manifest, name } = this.#parts;
      const task = manifest.tasks?.['image-classification'];
      if (!task) {
        throw new NearfarError('unsupported', `${name} has no image-classification task; use predict()`);
      }
      const topK = countOf('topK', options.topK ?? 5);
      const prepared = await this.#prepare(photo, task.input, scope.signal, options.transfer);
      const { preprocessMs } = prepared;
      let { image } = prepared;
      const answering = this.#answer<ClassifyAnswer>(scope, {
        preprocessMs,
        onDevice: (api, handle, callId) => api.classify(handle, moved({ callId, image, topK })),
        onServer: (api, target, callId, deadlineMs) => api.classifyOnServer(target, moved({ callId, image, topK, deadlineMs })),
      });
      // A leg that can answer has its copy by now; whoever is asked later gets these pixels, too, not what the caller makes of them.
      if ('channels' in image) image = copyOf(image);
      const { answer, run } = await answering;
      return { predictions: answer.predictions, run };
    });
  }

  async *classifyStream(source: FrameSource, options: ClassifyStreamOptions = {}): AsyncGenerator<ClassifiedFrame, void, undefined> {
    const { classifyStream } = await import('./classify-stream.ts');
    yield* classifyStream(this, source, options, this.#parts.clock);
  }

  predict(inputs: Readonly<Record<string, TensorInput>>, options: PredictOptions = {}): Promise<{ outputs: TensorMap; run: RunReport }> {
    return this.#track(options, async (scope) => {
      const { manifest, predicting, device, server } = this.#parts;
      const { planPrediction } = predicting ?? (await loadPredicting());
      const plan = planPrediction(manifest, inputs, options, !device || !server);
      const answering = this.#answer(scope, plan);
      plan.keepInputs();
      const { answer, run } = await answering;
      return { outputs: answer.outputs, run };
    });
  }

  run<Task extends keyof ModelTasks>(
    task: Task,
    input: ModelTasks[Task]['input'],
    options: TaskOptions = {},
  ): Promise<{ output: ModelTasks[Task]['output']; run: RunReport }> {
    return this.#track(options, async (scope) => {
      const { planTask } = await import('./plan-task.ts');
      const { answer, run } = await this.#answer(scope, await planTask(this.#parts, task, input, options, scope.signal));
      return { output: answer.output as ModelTasks[Task]['output'], run };
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#finish();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  readonly addEventListener: Model['addEventListener'] = (type, listener, options) => {
    listen(this.#parts.hub, type, listener, options);
  };

  readonly removeEventListener: Model['removeEventListener'] = (type, listener, options) => {
    unlisten(this.#parts.hub, type, listener, options);
  };

  /** Called when the device became ready or was lost, and after each call, which may have opened or closed a breaker. */
  reconsider(reason: string): void {
    const from = this.#leg;
    const to = this.#firstLeg();
    if (from === to) return;
    this.#leg = to;
    this.#parts.hub.emit('switch', { from, to, reason });
  }

  #firstLeg(): Leg {
    const { mode, device, server } = this.#parts;
    const allowed = legsOf(mode).filter((leg) => (leg === 'server' ? server : device));
    const able = allowed.filter((leg) => leg === 'server' || !device?.obstacle);
    return able.find((leg) => this.#breakers[leg].state !== 'open') ?? able[0] ?? allowed[0] ?? 'on-device';
  }

  async #finish(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await this.#parts.device?.close();
    this.#parts.onClose();
  }

  /** Runs a call inside its deadline, and holds a close until it ended. */
  #track<T>(options: CallOptions, run: (scope: CallScope) => Promise<T>): Promise<T> {
    const call = (async () => {
      if (this.#closing) throw new NearfarError('failed-precondition', `the model ${this.#parts.name} is closed`);
      options.signal?.throwIfAborted();
      // No `using`: what it is lowered to would be downloaded for this one line.
      const scope = openScope(this.#parts.clock, options);
      try {
        return await run(scope);
      } finally {
        scope[Symbol.dispose]();
      }
    })();
    this.#underWay.add(call);
    const forget = () => this.#underWay.delete(call);
    call.then(forget, forget);
    return call;
  }

  async #prepare(
    photo: Photo,
    input: ImageInput,
    signal: AbortSignal,
    isGiven?: boolean,
  ): Promise<{ image: RgbImage | Pixels; preprocessMs: number }> {
    const { media, baseUrl } = this.#parts;
    const { source, transfer: movable } = await untilAborted(toImageSource(photo, baseUrl, isGiven), signal);
    if (source.kind === 'pixels' && source.pixels.data.length <= fewBytes) return { image: source.pixels, preprocessMs: 0 };
    return media.call((api, callId) => api.prepareImage(callId, transfer(source, movable), input), { signal });
  }

  async #answer<Answer extends PredictAnswer | ClassifyAnswer | TaskAnswer>(
    { signal, startedAt, deadlineAt, hedgeAfterMs = this.#parts.hedgeAfterMs }: CallScope,
    plan: CallPlan<Answer>,
  ): Promise<{ answer: Answer; run: RunReport }> {
    const { clock, hub, mode, name, pin } = this.#parts;
    let why = 'answers again';
    const calling = runWithFailover<LegAnswer<Answer>>({
      mode,
      legs: this.#legsFor(plan),
      clock,
      signal,
      deadlineAt,
      onFallback: (fallback, to) => {
        why = fallback.message;
        hub.emit('fallback', { ...fallback, to, reason: fallback.message });
      },
      hedgeAfterMs,
    });
    const done = await calling.finally(() => this.reconsider(why));
    const run = createRunReport(name, pin, done, plan.preprocessMs, clock.now() - startedAt);
    hub.emit('run', { run, reason: run.fallback?.message ?? `${done.leg} answered as the mode ${mode} prefers` });
    return { answer: done.answer.value, run };
  }

  #legsFor<Answer extends PredictAnswer | ClassifyAnswer | TaskAnswer>({ onDevice, onServer }: CallPlan<Answer>) {
    const { device, server } = this.#parts;
    const near: CallLeg<LegAnswer<Answer>> | undefined = device && {
      breaker: this.#breakers['on-device'],
      get obstacle() {
        return device.obstacle;
      },
      ready: (signal) => device.ready(signal),
      run: async ({ signal }) => {
        const { answer, ...how } = await device.run(onDevice, signal);
        return { ...how, value: answer, timing: answer.timing };
      },
    };
    const far: CallLeg<LegAnswer<Answer>> | undefined = server && {
      breaker: this.#breakers.server,
      obstacle: undefined,
      ready: async () => {},
      run: async (options) => {
        const { answer, ...how } = await server.run(onServer, options);
        return { ...how, value: answer, timing: answer.timing, cache: 'miss' };
      },
    };
    return { ...(near && { 'on-device': near }), ...(far && { server: far }) };
  }
}

/** Sends a copy of the image that is moved: a clone would be copied once more on the way. The image stays for another leg. */
function moved<Call extends Pick<ClassifyCall, 'image'>>(call: Call): Call {
  const image = copyOf(call.image);
  return transfer({ ...call, image }, [image.data.buffer]);
}

function copyOf<Image extends RgbImage | Pixels>(image: Image): Image {
  return { ...image, data: image.data.slice() };
}

/** One call's time: when it began, when it must end, and the signal that ends it. */
interface CallScope extends Limit {
  readonly startedAt: number;
  readonly deadlineAt: number | undefined;
  readonly hedgeAfterMs?: number | undefined;
}

function openScope(clock: Clock, { deadlineMs, hedgeAfterMs, signal = new AbortController().signal }: CallOptions): CallScope {
  const startedAt = clock.now();
  if (deadlineMs === undefined) return { ...withoutLimit(signal), startedAt, deadlineAt: undefined, hedgeAfterMs };
  atLeast('deadlineMs', deadlineMs, 0);
  const limit = openLimit(clock, signal, deadlineMs, `no answer in ${deadlineMs} ms`, { deadlineMs });
  return { ...limit, startedAt, deadlineAt: startedAt + deadlineMs, hedgeAfterMs };
}
