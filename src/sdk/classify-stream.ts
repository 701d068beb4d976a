import { NearfarError } from '../core/index.ts';
import type { Clock } from './clock.ts';
import type { ClassifiedFrame, ClassifyStreamOptions, FrameSource, Model } from './model.ts';

// A module of its own, loaded by the first stream.

/** One frame to be classified; whoever takes it closes it. */
interface Frame {
  readonly photo: HTMLVideoElement | VideoFrame;
  readonly mediaTimeMs: number;
  /** Frames since the last one taken that nobody waited for. */
  readonly dropped: number;
}

/** Gives the newest frame to whoever asks and drops what nobody asked for; nothing is kept but that one. */
interface FrameFeed {
  /** The next frame, undefined when there are no more; rejects with `signal.reason` when aborted. */
  next(signal: AbortSignal): Promise<Frame | undefined>;
  close(): Promise<void>;
}

/** Classifies the newest frame of a source each time the caller asks for a result. */
export async function* classifyStream(
  model: Pick<Model, 'classify'>,
  source: FrameSource,
  { maxFps = Number.POSITIVE_INFINITY, signal = new AbortController().signal, ...options }: ClassifyStreamOptions,
  clock: Clock,
): AsyncGenerator<ClassifiedFrame, void, undefined> {
  if (!(maxFps > 0)) throw new NearfarError('invalid-argument', `maxFps: expected a number above 0, got ${maxFps}`);
  signal.throwIfAborted();
  const feed = await openFeed(source);
  let dueAt = Number.NEGATIVE_INFINITY;
  let skipped = 0;
  try {
    for (let frame = await feed.next(signal); frame; frame = await feed.next(signal)) {
      const { photo, mediaTimeMs, dropped } = frame;
      try {
        const now = clock.now();
        if (now < dueAt) {
          skipped += dropped + 1;
          continue;
        }
        // A tenth early: a frame that comes a moment before it is due would be dropped for the one behind it.
        dueAt = now + (0.9 * 1_000) / maxFps;
        const answer = await model.classify(photo, { ...options, signal });
        yield { ...answer, frame: { mediaTimeMs, dropped: dropped + skipped } };
        skipped = 0;
      } finally {
        if ('close' in photo) photo.close();
      }
    }
  } finally {
    await feed.close();
  }
}

async function openFeed(source: FrameSource): Promise<FrameFeed> {
  if (source instanceof HTMLVideoElement) return feedOfVideo(source);
  if (source instanceof ReadableStream) return feedOfStream(source);
  const track = source instanceof MediaStream ? source.getVideoTracks()[0] : source;
  if (!(track instanceof MediaStreamTrack) || track.kind !== 'video') {
    throw new NearfarError('invalid-argument', 'source: expected a video element, a video track or a stream of VideoFrames');
  }
  const { MediaStreamTrackProcessor }: typeof globalThis & TrackProcessing = globalThis;
  return MediaStreamTrackProcessor ? feedOfStream(new MediaStreamTrackProcessor({ track }).readable) : feedOfTrack(track);
}

/** Chromium's; not in the DOM's types. */
interface TrackProcessing {
  readonly MediaStreamTrackProcessor?: new (init: { track: MediaStreamTrack }) => { readonly readable: ReadableStream<VideoFrame> };
}

/** Waits for frames as the browser presents them. A paused video gives the one it shows, then waits until it goes on. */
function feedOfVideo(video: HTMLVideoElement): FrameFeed {
  let presented: number | undefined;
  return {
    next: (signal) =>
      new Promise((resolve, reject) => {
        const settle = (end: () => void) => {
          video.cancelVideoFrameCallback(request);
          video.removeEventListener('ended', onEnded);
          signal.removeEventListener('abort', onAbort);
          end();
        };
        const take = (mediaTime: number, presentedFrames: number) => {
          const dropped = presented === undefined ? 0 : Math.max(0, presentedFrames - presented - 1);
          presented = presentedFrames;
          settle(() => resolve({ photo: video, mediaTimeMs: mediaTime * 1_000, dropped }));
        };
        const onEnded = () => settle(() => resolve(undefined));
        const onAbort = () => settle(() => reject(signal.reason));
        const request = video.requestVideoFrameCallback((_, frame) => take(frame.mediaTime, frame.presentedFrames));
        video.addEventListener('ended', onEnded);
        signal.addEventListener('abort', onAbort);
        if (signal.aborted) onAbort();
        else if (video.ended) onEnded();
        else if (presented === undefined && video.paused && video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) {
          take(video.currentTime, 0);
        }
      }),
    async close() {},
  };
}

/** Reads all the time, and closes each frame that a newer one replaces before it was asked for. */
function feedOfStream(stream: ReadableStream<VideoFrame>): FrameFeed {
  const reader = stream.getReader();
  let newest: VideoFrame | undefined;
  let dropped = 0;
  let isClosed = false;
  let end: { readonly error?: unknown } | undefined;
  let wake: () => void = () => {};
  const pump = async () => {
    for (let { value } = await reader.read(); value; { value } = await reader.read()) {
      if (newest) dropped += 1;
      newest?.close();
      newest = value;
      wake();
    }
  };
  pump().then(
    () => {
      end = {};
      wake();
    },
    (error: unknown) => {
      end = { error };
      wake();
    },
  );
  return {
    next: (signal) =>
      new Promise((resolve, reject) => {
        const settle = (work: () => void) => {
          wake = () => {};
          signal.removeEventListener('abort', onAbort);
          work();
        };
        const onAbort = () => settle(() => reject(signal.reason));
        const look = () => {
          if (newest) {
            const frame = { photo: newest, mediaTimeMs: newest.timestamp / 1_000, dropped };
            newest = undefined;
            dropped = 0;
            settle(() => resolve(frame));
          } else if (end) {
            const { error } = end;
            settle(() => (error === undefined ? resolve(undefined) : reject(error)));
          }
        };
        wake = look;
        signal.addEventListener('abort', onAbort);
        if (signal.aborted) onAbort();
        else look();
      }),
    async close() {
      if (isClosed) return;
      isClosed = true;
      await reader.cancel().catch(() => {});
      newest?.close();
      newest = undefined;
    },
  };
}

/** By a video element that nobody sees, where the browser does not give out a track's frames. */
async function feedOfTrack(track: MediaStreamTrack): Promise<FrameFeed> {
  const video = document.createElement('video');
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  await video.play();
  const feed = feedOfVideo(video);
  return {
    next: (signal) => feed.next(signal),
    async close() {
      video.pause();
      video.srcObject = null;
    },
  };
}
