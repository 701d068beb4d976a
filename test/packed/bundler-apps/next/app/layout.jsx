export const metadata = { title: 'nearfar in a fresh Next.js app', icons: 'data:,' };

export default function Layout({ children }) {
  return (
    <html lang="en" suppressHydrationWarning>
      <body>{children}</body>
    </html>
  );
}
