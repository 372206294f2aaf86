"""A Flask application that keeps sessions in a global dict, which grows until it is cleared: session_dict.py PORT"""

import sys

from flask import Flask, jsonify, request
from werkzeug.serving import WSGIRequestHandler, make_server

app = Flask(__name__)
sessions = {}


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open

    def log_request(self, *_):
        pass


@app.post("/session/<int:number>")
def put_session(number):
    cart = request.get_json()
    visits = [{"item": item, "seen": [f"{number}/{item['sku']}/{n}" for n in range(20)]} for item in cart["items"]]
    sessions[number] = {"cart": cart, "visits": visits, "by_sku": {item["sku"]: item for item in cart["items"]}}
    return jsonify(sessions=len(sessions))


@app.get("/session/<int:number>")
def get_session(number):
    session = sessions.get(number)
    return jsonify(found=session is not None, items=session["cart"]["items"] if session else [])


@app.post("/clear")
def clear():
    sessions.clear()
    return jsonify(sessions=0)


make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=Handler).serve_forever()
