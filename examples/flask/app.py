from flask import Flask, jsonify, request

app = Flask(__name__)


@app.get("/")
def index():
    return "Flask says hello\n"


@app.post("/sum")
def add():
    numbers = request.get_json()
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        return jsonify(error="send a list of numbers"), 400
    return jsonify(sum=sum(numbers))
