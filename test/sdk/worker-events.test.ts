import { expect, test, vi } from 'vitest';
import { setUpClient } from './open-client.ts';
import { manifest, pin } from './stand-in-workers.ts';

const copy = { type: 'fallback', from: 'versions.json', to: 'its last known copy', code: 'network', message: 'offline' } as const;

test('what goes wrong while the device worker settles the version is told, to the monitor as well', async () => {
  const { client, workers, eventsOf } = setUpClient();
  workers.device.plan = async (_callId, _request, notify) => {
    notify(copy);
    return { pin, manifest, cachedBytes: 0, totalBytes: 100 };
  };
  const monitored: string[] = [];

  await using _model = await client.open('tiny', {
    mode: 'only-on-device',
    monitor: (monitor) => monitor.addEventListener('fallback', ({ detail }) => monitored.push(detail.reason)),
  });

  await vi.waitFor(() => expect(eventsOf('fallback')).toHaveLength(1));
  expect(eventsOf('fallback')[0]?.detail).toMatchObject({
    model: 'tiny',
    from: 'versions.json',
    to: 'its last known copy',
    code: 'network',
    message: 'offline',
    reason: 'offline',
  });
  expect(monitored).toEqual(['offline']);
});

test('what goes wrong while the media worker settles the version is told', async () => {
  const { client, workers, eventsOf } = setUpClient();
  workers.media.resolve = async (_callId, _request, notify) => {
    notify({ type: 'retry', url: 'https://far.test/versions.json', attempt: 1, code: 'network', message: 'no route' });
    return { pin, manifest };
  };

  await using _model = await client.open('tiny', { mode: 'only-server' });

  await vi.waitFor(() => expect(eventsOf('retry')).toHaveLength(1));
  expect(eventsOf('retry')[0]?.detail).toMatchObject({ attempt: 1, reason: 'https://far.test/versions.json: no route' });
});

test('a model that cannot be kept says why', async () => {
  const { client, workers, eventsOf } = setUpClient();
  await using _model = await client.open('tiny', { mode: 'only-on-device' });

  workers.notify({ type: 'quota', neededBytes: 9, availableBytes: 0, action: 'memory', message: 'storage is switched off' });
  workers.notify({ type: 'quota', neededBytes: 9, availableBytes: 3, action: 'memory' });

  await vi.waitFor(() => expect(eventsOf('quota')).toHaveLength(2));
  expect(eventsOf('quota').map(({ detail }) => detail.reason)).toEqual(['storage is switched off', '9 bytes are needed, 3 may be stored']);
});
