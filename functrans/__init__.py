"""functrans"""
