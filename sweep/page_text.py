"""Style and script of the contact page; both stand in the page itself."""

STYLE = """
:root { color-scheme: light dark; --edge: #8884; --mark: #c44828; }
body { font: 14px/1.4 system-ui, sans-serif; margin: 16px; }
h1 { font-size: 20px; margin: 0 0 8px; } h2 { font-size: 16px; margin: 20px 0 8px; }
.reason { font-size: 16px; max-width: 70em; }
.scores { display: flex; flex-wrap: wrap; gap: 20px; align-items: flex-start; margin-bottom: 20px; }
.scores table { border-collapse: collapse; } .scores td, .scores th { padding: 3px 10px; text-align: right; }
.scores th:first-child { text-align: left; } .scores tr { border-bottom: 1px solid var(--edge); }
.scores tr.best { font-weight: bold; color: var(--mark); } .scores tr.front th::after { content: " \\2022"; }
.plot { max-width: min(720px, 100%); height: auto; }
.scroll { overflow: auto; max-height: 92vh; border: 1px solid var(--edge); }
.grid { border-collapse: separate; border-spacing: 3px; }
.grid thead th { position: sticky; top: 0; background: Canvas; z-index: 2; padding: 4px; }
.grid tr > th:first-child { position: sticky; left: 0; background: Canvas; z-index: 1; width: 14em; min-width: 10em;
  max-width: 14em; text-align: left; font-weight: normal; overflow-wrap: anywhere; vertical-align: top; padding: 4px; }
.grid th.best { color: var(--mark); } .grid td { padding: 0; } .grid td.spoiled { outline: 3px solid var(--mark); }
.grid img { width: auto; height: auto; max-width: 256px; max-height: 256px; cursor: zoom-in; display: block; }
.grid img:focus { outline: 3px solid var(--mark); }
pre { white-space: pre-wrap; overflow-wrap: anywhere; }
#zoom { position: fixed; inset: 0; background: #000d; color: #eee; display: flex; z-index: 9; overflow: hidden; }
#zoom[hidden] { display: none; }
#zoom img { margin: auto; max-width: calc(100% - 24em); min-height: min(100%, 640px); max-height: 100%;
  object-fit: contain; cursor: grab;
  transform-origin: center; image-rendering: auto; }
#zoom pre { width: 22em; margin: 0; padding: 16px; background: #0008; overflow: auto; flex: none; }
"""

SCRIPT = """
'use strict';
(() => {
  const zoom = document.getElementById('zoom');
  const large = zoom.querySelector('img');
  const words = zoom.querySelector('pre');
  const all = [...document.querySelectorAll('.grid img')];
  let at = -1, scale = 1, x = 0, y = 0, held = null;
  const place = () => { large.style.transform = `translate(${x}px, ${y}px) scale(${scale})`; };
  const show = (number) => {
    const image = all[number];
    if (!image) return;
    at = number;
    large.src = image.src;
    const about = JSON.parse(image.dataset.about);
    words.textContent = Object.entries(about).map(([name, value]) => `${name}\\n  ${value}`).join('\\n\\n');
    zoom.hidden = false;
    place();
  };
  const hide = () => {
    zoom.hidden = true;
    scale = 1; x = y = 0;
    if (all[at]) all[at].focus();
  };
  // The cell above or below stands in the same column of the next row.
  const across = (step) => {
    const cell = all[at].closest('td'), row = cell.parentElement;
    const next = step < 0 ? row.previousElementSibling : row.nextElementSibling;
    const other = next && next.cells[cell.cellIndex];
    if (other && other.querySelector('img')) show(all.indexOf(other.querySelector('img')));
  };
  all.forEach((image, number) => {
    image.addEventListener('click', () => show(number));
    image.addEventListener('keydown', (event) => { if (event.key === 'Enter') show(number); });
  });
  document.addEventListener('keydown', (event) => {
    if (zoom.hidden) return;
    const moves = {
      Escape: hide, ArrowLeft: () => show(at - 1), ArrowRight: () => show(at + 1),
      ArrowUp: () => across(-1), ArrowDown: () => across(1),
    };
    if (moves[event.key]) { event.preventDefault(); moves[event.key](); }
  });
  zoom.addEventListener('wheel', (event) => {
    if (event.target.closest('pre')) return;
    event.preventDefault();
    scale = Math.min(16, Math.max(1, scale * Math.exp(-event.deltaY / 400)));
    if (scale === 1) x = y = 0;
    large.style.imageRendering = scale > 3 ? 'pixelated' : 'auto';
    place();
  }, { passive: false });
  large.addEventListener('pointerdown', (event) => {
    event.preventDefault();
    held = { id: event.pointerId, x: event.clientX - x, y: event.clientY - y, moved: false };
    large.setPointerCapture(event.pointerId);
  });
  large.addEventListener('pointermove', (event) => {
    if (!held || held.id !== event.pointerId) return;
    held.moved = true;
    x = event.clientX - held.x; y = event.clientY - held.y;
    place();
  });
  large.addEventListener('pointerup', () => { held = null; });
  zoom.addEventListener('click', (event) => { if (event.target === zoom) hide(); });
})();
"""
