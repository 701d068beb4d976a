import { afterEach } from 'vitest';
import { type Client, createClientIn } from '../../src/sdk/client.ts';
import type { EventDetails } from '../../src/sdk/events.ts';
import type { ClientOptions } from '../../src/sdk/options.ts';
import { createFakeClock } from './fake-clock.ts';
import { createStandIns } from './stand-in-workers.ts';

const open: Client[] = [];

afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.close()));
});

const eventNames: readonly (keyof EventDetails)[] = [
  'phase',
  'fallback',
  'retry',
  'switch',
  'integrity',
  'device-lost',
  'eviction',
  'quota',
  'version',
  'run',
];

/** A client on stand-in workers and a clock that stands still, with a log of its events. */
export function setUpClient(options: Partial<ClientOptions> = {}) {
  const clock = createFakeClock();
  const workers = createStandIns();
  const { createWorker } = workers;
  const client = createClientIn({ models: '/models', server: '/', ...options }, { clock, createWorker, baseUrl: 'https://app.test/' });
  const events: { type: keyof EventDetails; detail: EventDetails[keyof EventDetails] }[] = [];
  for (const type of eventNames) client.addEventListener(type, ({ detail }) => events.push({ type, detail }));
  open.push(client);
  return { client, clock, workers, events, eventsOf: (type: keyof EventDetails) => events.filter((event) => event.type === type) };
}
