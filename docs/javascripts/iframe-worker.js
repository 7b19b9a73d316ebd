// A page that is opened from the disk may not start a worker. The search then runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.scope = new Promise((resolve, reject) => {
        const frame = document.createElement("iframe")
        frame.hidden = true
        frame.onload = () => {
          const scope = frame.contentWindow
          const script = scope.document.createElement("script")
          scope.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
          script.onload = () => resolve(scope)
          script.onerror = () => reject(new Error(`${url} is not there`))
          script.src = new URL(url, document.baseURI).href
          scope.document.body.append(script)
        }
        document.body.append(frame)
      })
    }

    postMessage(data) {
      this.scope.then(scope => scope.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
}
