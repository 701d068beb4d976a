import { useSignal, useSignalEffect } from '@preact/signals';
import type { ComponentChild } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { useApp } from './context.ts';
import {
  ComparePage,
  FailuresPage,
  FleetPage,
  HistoryPage,
  ModelPage,
  ModelsPage,
  TryPage,
  UploadPage,
  VersionPage,
} from './pages/index.ts';
import { Empty, formatClock, Icon, type IconName } from './parts/index.ts';
import { hrefOf, type Route } from './route.ts';
import { SignIn, Who } from './sign-in.tsx';

const places: readonly { readonly path: string; readonly name: string; readonly icon: IconName }[] = [
  { path: 'models', name: 'Models', icon: 'models' },
  { path: 'upload', name: 'Upload', icon: 'upload' },
  { path: 'history', name: 'History', icon: 'history' },
  { path: 'failures', name: 'Failures', icon: 'failures' },
  { path: 'fleet', name: 'Fleet', icon: 'fleet' },
];

/** What stands around every view: where one can go, whether the view is live, what was done last. */
export function Shell() {
  const { route, dialog, login } = useApp();
  const main = useRef<HTMLElement>(null);
  const { parts } = route.value;
  const path = parts.join('/');
  const isFirst = useRef(true);
  useEffect(() => {
    const title = main.current?.querySelector('h1')?.textContent;
    document.title = title ? `${title} · nearfar` : 'nearfar';
    // Whoever reads by ear or keyboard begins at the top of the new view, as on a new page.
    if (!isFirst.current) main.current?.focus();
    isFirst.current = false;
    scrollTo(0, 0);
  }, [path]);
  return (
    <>
      <button type="button" class="skip" onClick={() => main.current?.focus()}>
        Skip to the content
      </button>
      <header class="top">
        <a class="brand" href={hrefOf(['models'])}>
          <span class="near">near</span>
          <span class="far">far</span>
        </a>
        <ConnectionState />
        <Who />
      </header>
      <nav aria-label="Views">
        {places.map(({ path: place, name, icon }) => (
          <a key={place} href={hrefOf([place])} aria-current={(parts[0] ?? 'models') === place ? 'page' : undefined}>
            <Icon name={icon} />
            <span>{name}</span>
          </a>
        ))}
      </nav>
      <main id="main" tabIndex={-1} ref={main}>
        {login.isNeeded() ? (
          <SignIn />
        ) : (
          <>
            <Lost />
            <View key={path} route={route.value} />
          </>
        )}
      </main>
      <Notice />
      {dialog.value}
    </>
  );
}

function View({ route: { parts } }: { readonly route: Route }): ComponentChild {
  const [place = 'models', model, view, version] = parts;
  if (place === 'models') {
    if (model === undefined) return <ModelsPage />;
    if (view === undefined) return <ModelPage name={model} />;
    if (view === 'versions' && version !== undefined) return <VersionPage name={model} version={version} />;
    if (view === 'try') return <TryPage name={model} />;
    if (view === 'compare') return <ComparePage name={model} />;
  }
  if (place === 'upload') return <UploadPage />;
  if (place === 'failures') return <FailuresPage />;
  if (place === 'history') return <HistoryPage />;
  if (place === 'fleet') return <FleetPage />;
  return (
    <>
      <h1>Not here</h1>
      <Empty icon="failures" title="There is no such view">
        <a href={hrefOf(['models'])}>All models</a> are a good place to begin.
      </Empty>
    </>
  );
}

function ConnectionState() {
  const { value } = useApp().live.connection;
  const words = { connecting: 'connecting', live: 'live', polling: 'read only', lost: 'disconnected' };
  return (
    <span class="connection" data-state={value.state} role="status">
      {words[value.state]}
    </span>
  );
}

/** What is shown may be old: said where it is shown. */
function Lost() {
  const { value } = useApp().live.connection;
  if (value.state !== 'lost') return null;
  return (
    <p class="banner bad" role="alert">
      Disconnected since {formatClock(value.since)}: {value.error.message}. What you see is what the server said before; trying again.
    </p>
  );
}

const noticeMs = 6_000;

function Notice() {
  const { notice } = useApp();
  const timer = useSignal<ReturnType<typeof setTimeout> | undefined>(undefined);
  useSignalEffect(() => {
    if (notice.value === '') return;
    clearTimeout(timer.peek());
    timer.value = setTimeout(() => {
      notice.value = '';
    }, noticeMs);
  });
  return (
    <div class="notice" role="status">
      {notice.value && <p>{notice.value}</p>}
    </div>
  );
}
