// What the page of the React tests uses of react-dom, whose types are not a dependency.
declare module 'react-dom/client' {
  export function createRoot(container: Element): { render(children: import('react').ReactNode): void; unmount(): void };
}
