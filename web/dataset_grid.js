// A grid of which only what is in sight exists: thousands of cells cost as much as a screenful.
import { make } from "./common.js"

const BEYOND = 1
const SETTLED = 60
let grids = 0

/**
 * @typedef {{ width: number, height: number, label: string, single?: boolean,
 *   fill(cell: HTMLElement, item: number): void, picture?(item: number): string,
 *   act(item: number, event: KeyboardEvent | MouseEvent): void, moved?(item: number): void }} GridOptions
 * `width` and `height` are a cell's in pixels (`width` 0: one column); `fill` shows an item in a cell that may have shown
 * another one; `picture` is the address for its `img`, asked for once the grid stands still.
 */

export class Grid {
  /** @param {GridOptions} options */
  constructor(options) {
    this.options = options
    this.name = `kiln-grid-${++grids}`
    this.space = make("div", { class: "kiln-space" })
    this.element = make("div", {
      class: "kiln-grid-view", tabIndex: 0, role: "listbox", "aria-label": options.label,
      "aria-multiselectable": String(!options.single),
    }, this.space)
    /** @type {number[]} */
    this.items = []
    this.active = -1
    this.columns = 1
    this.room = 0
    /** Cells by their place in `items`. @type {Map<number, HTMLElement>} */
    this.cells = new Map()
    /** @type {HTMLElement[]} */
    this.spare = []
    this.drawing = 0
    this.stale = false
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.settling = undefined
    this.element.addEventListener("scroll", () => this.draw(), { passive: true })
    this.element.addEventListener("keydown", (event) => this.press(event))
    this.element.addEventListener("click", (event) => this.click(event))
    this.resized = new ResizeObserver(() => this.draw())
    this.resized.observe(this.element)
  }

  /**
   * Show these items; the active one stays where it is still among them.
   * @param {number[]} items
   */
  show(items) {
    const active = this.items[this.active]
    this.items = items
    this.active = Math.max(items.indexOf(active), items.length ? 0 : -1)
    this.refresh()
    if (this.active >= 0 && items[this.active] !== active) this.options.moved?.(items[this.active])
  }

  /** Fill every cell anew. */
  refresh() {
    this.stale = true
    this.draw()
  }

  draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0
      this.drawNow()
    })
  }

  drawNow() {
    const { width, height } = this.options
    const { clientWidth, clientHeight, scrollTop } = this.element
    if (!clientWidth || !clientHeight) return
    const columns = width ? Math.max(1, Math.floor(clientWidth / width)) : 1
    this.stale ||= columns !== this.columns || clientWidth !== this.room
    this.columns = columns
    this.room = clientWidth
    this.space.style.height = `${Math.ceil(this.items.length / columns) * height}px`
    const first = Math.max(0, Math.floor(scrollTop / height) - BEYOND) * columns
    const last = Math.min(this.items.length, (Math.ceil((scrollTop + clientHeight) / height) + BEYOND) * columns)
    for (const [at, cell] of this.cells) {
      if (at >= first && at < last) continue
      this.cells.delete(at)
      this.spare.push(cell)
    }
    for (let at = first; at < last; at++) if (this.stale || !this.cells.has(at)) this.place(at)
    this.stale = false
    for (const cell of this.spare.splice(0)) cell.remove()
    this.element.setAttribute("aria-activedescendant", this.cells.has(this.active) ? `${this.name}-${this.active}` : "")
    clearTimeout(this.settling)
    this.settling = setTimeout(() => this.loadPictures(), this.options.picture ? SETTLED : 0)
  }

  /** Show the item of a place, in the cell that stands there, or one that is free. @param {number} at */
  place(at) {
    const { height, fill, picture } = this.options
    const cell = this.cells.get(at) ?? this.spare.pop() ?? make("div", { class: "kiln-cell-box", role: "option" })
    const column = at % this.columns
    const wide = this.room / this.columns
    cell.id = `${this.name}-${at}`
    cell.dataset.at = String(at)
    cell.style.transform = `translate(${Math.floor(column * wide)}px, ${Math.floor(at / this.columns) * height}px)`
    cell.style.width = `${Math.floor(wide)}px`
    cell.style.height = `${height}px`
    cell.setAttribute("aria-setsize", String(this.items.length))
    cell.setAttribute("aria-posinset", String(at + 1))
    cell.classList.toggle("kiln-active", at === this.active)
    fill(cell, this.items[at])
    const image = picture && cell.querySelector("img")
    // Not for a moment the picture of what stood here before.
    if (image && image.dataset.shown !== picture(this.items[at])) {
      image.removeAttribute("src")
      delete image.dataset.shown
    }
    if (!cell.parentElement) this.space.append(cell)
    this.cells.set(at, cell)
  }

  /** Pictures that only flew by are never asked for. */
  loadPictures() {
    const { picture } = this.options
    if (!picture) return
    for (const [at, cell] of this.cells) {
      const image = cell.querySelector("img")
      const wanted = picture(this.items[at])
      if (image && image.dataset.shown !== wanted) {
        image.dataset.shown = wanted
        if (wanted) image.src = wanted
        else image.removeAttribute("src")
      }
    }
  }

  /**
   * Make a place the active one, and bring it into sight.
   * @param {number} at
   */
  move(at) {
    if (!this.items.length) return
    this.active = Math.min(Math.max(at, 0), this.items.length - 1)
    const { height } = this.options
    const top = Math.floor(this.active / this.columns) * height
    const { scrollTop, clientHeight } = this.element
    if (top < scrollTop) this.element.scrollTop = top
    else if (top + height > scrollTop + clientHeight) this.element.scrollTop = top + height - clientHeight
    for (const [place, cell] of this.cells) cell.classList.toggle("kiln-active", place === this.active)
    this.draw()
    this.options.moved?.(this.items[this.active])
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    const page = this.columns * Math.max(1, Math.floor(this.element.clientHeight / this.options.height))
    /** @type {Record<string, number>} */
    const steps = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page,
      Home: -this.items.length, End: this.items.length,
    }
    if (event.key in steps && !event.altKey && !event.ctrlKey && !event.metaKey) {
      this.move(this.active + steps[event.key])
    } else if ([" ", "Enter", "Delete", "Backspace"].includes(event.key) && this.active >= 0) {
      this.options.act(this.items[this.active], event)
    } else {
      return
    }
    event.preventDefault()
    event.stopPropagation()
  }

  /** @param {MouseEvent} event */
  click(event) {
    const cell = /** @type {HTMLElement} */ (event.target).closest(".kiln-cell-box")
    if (!(cell instanceof HTMLElement)) return
    this.move(Number(cell.dataset.at))
    this.options.act(this.items[this.active], event)
  }

  remove() {
    this.resized.disconnect()
    cancelAnimationFrame(this.drawing)
    clearTimeout(this.settling)
    this.element.remove()
  }
}
