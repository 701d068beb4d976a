import type { ReadonlySignal, Signal } from '@preact/signals';
import { type ComponentChild, createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Live, Login } from './api/index.ts';
import type { Route } from './route.ts';

/** What all views share. */
export interface App {
  readonly live: Live;
  readonly login: Login;
  readonly route: ReadonlySignal<Route>;
  /** The dialog that is open, over everything else. */
  readonly dialog: Signal<ComponentChild>;
  /** What was done last, said to everyone. */
  readonly notice: Signal<string>;
}

export const AppContext = createContext<App | undefined>(undefined);

export function useApp(): App {
  const app = useContext(AppContext);
  if (!app) throw new TypeError('there is no app around this view');
  return app;
}
