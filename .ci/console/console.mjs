// Looks at every page of the operator console in headless Chromium: in both
// languages, light, dark and on a phone. axe-core judges each against WCAG 2.2 AA; a
// violation, an error of a script or a refused resource ends it with exit code 1.
//
//   npm ci && node console.mjs -base http://127.0.0.1:9180 [-incident ID] [-detected ID] [-out DIR]
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import puppeteer from 'puppeteer-core';

const flags = { base: 'http://127.0.0.1:9180', incident: '', detected: '', out: '' };
for (let i = 2; i + 1 < process.argv.length; i += 2) flags[process.argv[i].replace(/^-+/, '')] = process.argv[i + 1];
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

const pages = { services: '/', organizations: '/organizations', calendar: '/calendar', limits: '/limits', upstreams: '/upstreams', refusals: '/refusals', watched: '/refusals?mode=detect', find: '/incident', unknown: '/incident?id=00000000000000000000000000000000', nonsense: '/incident?id=x' };
if (flags.incident) pages.incident = `/incident?id=${flags.incident}`;
if (flags.detected) pages.detected = `/incident?id=${flags.detected}`;
const looks = { light: { width: 1280, height: 900, scheme: 'light' }, dark: { width: 1280, height: 900, scheme: 'dark' }, phone: { width: 390, height: 844, scheme: 'light', isMobile: true, hasTouch: true } };

const browser = await puppeteer.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'] });
let bad = 0;
const complain = (where, what) => { bad++; console.error(`${where}: ${what}`); };
try {
  for (const lang of ['en', 'bg']) {
    for (const [look, o] of Object.entries(looks)) {
      const page = await browser.newPage();
      await page.setBypassCSP(true); // for axe alone; what the policy stops in a page, the next one tells
      await page.setViewport({ width: o.width, height: o.height, isMobile: o.isMobile ?? false, hasTouch: o.hasTouch ?? false });
      await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: o.scheme }]);
      await page.setExtraHTTPHeaders({ 'Accept-Language': lang });
      for (const [name, path] of Object.entries(pages)) {
        const where = `${name} ${lang} ${look}`;
        await page.goto(flags.base + path, { waitUntil: 'load' });
        if (await page.evaluate(() => document.documentElement.lang) !== lang) complain(where, 'another language');
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        if (wide > 0) complain(where, `the page is ${wide} px too wide`);
        let violations = [];
        if (lang === 'en' || look === 'light') { // colors and sizes are the same in both languages, words in all looks
          await page.evaluate(axe);
          ({ violations } = await page.evaluate(() => axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })));
        }
        for (const v of violations) complain(where, `${v.id}: ${v.help}: ${v.nodes.map((n) => `${n.target} ${n.failureSummary}`).slice(0, 3).join('; ')}`);
        if (flags.out) {
          mkdirSync(flags.out, { recursive: true });
          const long = await page.evaluate(() => document.documentElement.scrollHeight > 2600);
          await page.screenshot({ path: join(flags.out, `${name}-${lang}-${look}.png`), fullPage: !long });
        }
      }
      await page.close();
    }
  }
  // With the policy in force: nothing is refused, and no script fails.
  const page = await browser.newPage();
  page.on('console', (m) => m.type() === 'error' && !/40[04]/.test(m.text()) && complain('console', m.text()));
  page.on('pageerror', (e) => complain('script', e.message));
  page.on('requestfailed', (r) => complain('request', `${r.url()} ${r.failure()?.errorText}`));
  for (const path of Object.values(pages)) await page.goto(flags.base + path, { waitUntil: 'load' });
  // What is live can be paused and says so.
  await page.goto(flags.base, { waitUntil: 'load' });
  const words = () => page.$eval('#pause', (b) => b.textContent);
  const before = await words();
  await page.click('#pause');
  if (await words() === before) complain('services', 'pausing says nothing');
  // The switch changes the language, and it stays.
  await page.click('.language');
  await page.waitForSelector('html[lang=bg]');
  await page.goto(`${flags.base}/limits`, { waitUntil: 'load' });
  if (await page.evaluate(() => document.documentElement.lang) !== 'bg') complain('limits', 'the language does not stay');
  // Without scripts there is everything but what is live.
  await page.setJavaScriptEnabled(false);
  await page.goto(`${flags.base}/refusals`, { waitUntil: 'load' });
  if (await page.$eval('.live', (e) => getComputedStyle(e).display) !== 'none') complain('refusals', 'it promises updates without a script');
} finally {
  await browser.close();
}
console.log(bad ? `${bad} complaints` : 'no complaint');
process.exit(bad ? 1 : 0);
